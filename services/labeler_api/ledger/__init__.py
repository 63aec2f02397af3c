"""The ledger: tables, transactions, counters, inbox and outbox. It knows rows, not rules."""
