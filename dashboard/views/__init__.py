"""Saved views: filters of the job list with a name and an address, of one person or shared."""
