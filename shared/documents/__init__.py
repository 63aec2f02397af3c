"""The JSON documents of both HTTP APIs: one frozen model each, for the view, OpenAPI and the client."""
