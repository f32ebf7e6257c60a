"""Membership: a brand's program, who belongs to it, and what their points are worth."""
