"""Changes of items, locations and categories, each in one transaction."""
