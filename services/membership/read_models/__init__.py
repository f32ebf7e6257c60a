"""What callers see of membership, made from its events."""
