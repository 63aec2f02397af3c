"""labeler-api's routes, one module a subject: each handler parses, calls the ledger, and answers with a view."""
