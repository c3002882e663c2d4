"""The leader's work: listen for rings, look, fan out, replay and keep house."""
