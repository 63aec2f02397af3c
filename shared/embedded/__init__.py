"""Adapters of the ports that need no server: the in-process bus and the directory store."""
