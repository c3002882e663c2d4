"""Users, sign-in, sessions and tokens."""
