"""End to end: the commands that people type."""
