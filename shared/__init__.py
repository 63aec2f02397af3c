"""What every service shares: events, taxonomy, imaging, ports and their adapters. Imports no service."""

VERSION = "0.1.0"  # as pyproject.toml has it; an image holds the code without its packaging
