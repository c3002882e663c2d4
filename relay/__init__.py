"""The relay: moves events from the outbox to the webhooks that want them."""
