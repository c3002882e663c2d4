"""The demo. It starts the whole system, drives it over HTTP, shows deliveries, and counts them."""
