"""What behaviours and orders are, and the rules they follow."""
