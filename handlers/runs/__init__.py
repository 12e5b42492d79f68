"""What a handler has of its run: how far it is, steps that are not repeated, where the next attempt goes on."""
