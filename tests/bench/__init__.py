"""Benchmarks: ratios from one run, never asserted."""
