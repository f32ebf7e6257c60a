"""Faults made on purpose, and the proof that nothing acknowledged was lost and nothing done twice."""
