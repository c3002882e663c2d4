"""Checkouts: units that are handed out to a user and come back."""
