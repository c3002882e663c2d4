"""The demo: the whole system started, driven over HTTP, watched, and counted."""
