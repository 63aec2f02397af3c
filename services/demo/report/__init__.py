"""A run's numbers and pictures as one HTML file."""
