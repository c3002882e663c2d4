"""The catalogue of events: each type with the data that it carries."""
