"""labeler-api: the one ledger of images, labels, campaigns and slots, and its HTTP API."""
