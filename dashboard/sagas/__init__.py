"""Sagas: which go on, which are stuck and why, and what has happened in one."""
