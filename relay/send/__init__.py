"""One request: its target, its content, and the end of its delivery."""
