"""Queues and their switches."""
