"""What every service shares: events, taxonomy, imaging, ports and their adapters. Imports no service."""
