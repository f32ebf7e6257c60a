"""The tables of tagging, each with what changes and reads it."""
