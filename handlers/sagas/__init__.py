"""Sagas: long stories told by events, which remember where they are and have things done by commands."""
