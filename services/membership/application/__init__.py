"""What can be asked of membership, and what it does by itself when other services report facts."""
