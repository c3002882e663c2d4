"""The relays as the API shows them, by the rows that they write."""
