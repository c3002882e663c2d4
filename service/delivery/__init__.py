"""What both programs must agree on to deliver an event: subject, envelope, signatures, backoff."""
