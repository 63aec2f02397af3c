"""The five services, the process that runs them all, and the command line."""
