"""Which relays run, and whether the database is there."""
