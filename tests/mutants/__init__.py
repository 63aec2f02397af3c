"""Mutation tests of the pure modules: small faults are set into a copy of each, and its unit tests must notice."""
