"""Taking due deliveries: lanes, slots, claims and leases."""
