"""The loop through docker compose, as an operator runs it: `make smoke`."""
