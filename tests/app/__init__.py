"""Job types that exist for the tests."""
