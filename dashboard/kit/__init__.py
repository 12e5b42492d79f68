"""What pages share; it knows no page."""
