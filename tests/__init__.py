"""Tests: unit, contract (one suite per port), integration, e2e and bench."""
