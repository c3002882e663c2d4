"""The audit trail: read by admins, written by every mutation."""
