"""Contract tests: one behaviour suite per port, run on the embedded and the remote adapter."""
