"""Signing in is throttled: django-axes, with limits for a name at one address, a name, and an address."""
