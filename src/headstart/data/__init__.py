"""From any source to arrays: the one road of the data."""
