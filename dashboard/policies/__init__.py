"""Retry policies, edited at run time."""
