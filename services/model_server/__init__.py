"""model-server: answers selfies over HTTP with the live model."""
