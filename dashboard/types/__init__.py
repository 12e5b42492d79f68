"""Job types, and enqueueing one job."""
