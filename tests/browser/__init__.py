"""The two pages as people use them: in a real browser, against the real service."""
