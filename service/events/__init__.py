"""What happened, as receivers learn of it: each type of event with the data it carries."""
