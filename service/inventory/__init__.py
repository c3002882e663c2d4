"""Items, locations and categories, one by one and many at once."""
