"""What both programs must agree on to deliver an event: its subject, its envelope and signatures, its backoff, its receiver's address."""
