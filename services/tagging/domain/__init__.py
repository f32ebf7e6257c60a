"""What tagging decides, in pure Python."""
