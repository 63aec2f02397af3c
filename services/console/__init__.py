"""What an operator runs: the `evenskin` command, its HTTP client and tables, and the five services in one process."""
