"""Reference pages, and what writes them from the code."""
