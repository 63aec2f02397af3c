"""Carries out the commands of `evenskin`. `services.console.cli` declares them, and loads these modules on call."""
