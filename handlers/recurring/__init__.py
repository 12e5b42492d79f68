"""Recurring jobs: what runs again and again, by a line of cron in a time zone."""
