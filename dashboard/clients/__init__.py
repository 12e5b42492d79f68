"""Clients of the HTTP API: their tokens are made and revoked here."""
