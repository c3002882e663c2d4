"""What only the leader does: listen for rings, look, fan out, replay and keep house."""
