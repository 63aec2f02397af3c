"""Generator: makes the requested images with a provider, and says what they cost."""
