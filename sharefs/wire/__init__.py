"""What do peers say? A module per family of messages; encode, and decode with limits. Pure."""
