"""A model's evaluation as one HTML page, one JSON file and pictures of what it got wrong."""
