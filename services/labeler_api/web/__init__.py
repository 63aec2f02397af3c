"""labeler-api over HTTP, and the review page."""
