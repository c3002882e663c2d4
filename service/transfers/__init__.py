"""Transfers: units that move from one location to another, with approval."""
