"""Webhooks: what happens is told to other programs over HTTP, signed, and again until they take it."""
