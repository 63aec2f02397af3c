"""Augmenter: mirrors every accepted image without loss."""
