"""Stand-ins for servers, for tests of what talks to them."""
