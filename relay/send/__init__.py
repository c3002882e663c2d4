"""One request: where it goes, what is in it, and what becomes of its delivery."""
