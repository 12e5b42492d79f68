"""Jobs that recur: their rules, their verbs, and how their occurrences are fired."""
