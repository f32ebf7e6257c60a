"""Mechanics every service is built from; it knows no business word and imports no service."""
