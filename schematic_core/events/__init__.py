"""Events: what `track`, `identify` and checks record, and its delivery by one background thread."""
