"""Membership on the wire."""
