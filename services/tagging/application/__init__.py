"""What tagging can be asked to do, and what it does by itself when others report something."""
