"""What is due, and whose it is: lanes, slots, claims and leases."""
