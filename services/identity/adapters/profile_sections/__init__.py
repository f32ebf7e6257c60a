"""The sections of a profile: a file each, with what it is called, whose messages it is made of, and how it is read.

A new section is a file with a `SECTION` and a line in `registry.py`.
"""
