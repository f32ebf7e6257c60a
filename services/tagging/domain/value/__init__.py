"""What customers will be worth (spec TG-7): how many purchases to expect, and how much each brings."""
