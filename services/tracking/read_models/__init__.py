"""What tracking answers questions from."""
