"""What was done to all that match."""
