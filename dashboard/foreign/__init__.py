"""RQ's own jobs, which no record keeps: shown, never acted on."""
