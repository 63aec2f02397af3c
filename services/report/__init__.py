"""How a run's numbers are shown: tables on a console, and a report as one HTML file."""
