"""Failures by kind."""
