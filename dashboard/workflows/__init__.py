"""Workflows: how far each is, what holds it up, and what people do about it."""
