"""Tracking: what people do and what they order."""
