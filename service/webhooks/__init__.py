"""Webhooks, and what their owners see: deliveries, replays, the stream, tests."""
