"""The release that is being deployed."""
