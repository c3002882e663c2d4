"""Which relays are there, and whether the database is."""
