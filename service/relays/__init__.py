"""The relays, as the API knows them: by the rows that they write."""
