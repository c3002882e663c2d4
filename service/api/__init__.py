"""HTTP: what all routes share, and the documents that are made from the routes."""
