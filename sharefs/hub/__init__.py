"""What does a blind device keep for members who are away? Still to come: the room is kept free."""
