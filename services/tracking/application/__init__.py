"""Commands, policies and published events of tracking."""
