"""Items and their quantities: what an item is, and the one way to change it."""
