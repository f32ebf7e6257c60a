"""Tagging: what customers are like, as tags, models and segments."""
