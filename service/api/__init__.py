"""HTTP: what all routes share."""
