"""What other tools make of our exports, and we of theirs: `make interop`."""
