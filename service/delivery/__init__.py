"""The rules of delivery that both programs share: subject, envelope, signatures, backoff."""
