"""What is written and read whole or not at all, and one hash for one content."""
