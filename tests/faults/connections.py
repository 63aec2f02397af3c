"""Closes the broker's connections with the services, as a network does that fails."""

from __future__ import annotations

import time

from tests.servers.rabbitmq import Management

EACH = 2  # connections of a process: one to publish and one to consume


def close_connections(management: Management, *, processes: int, vhost: str | None = None) -> None:
    """Close each connection of so many processes once. `vhost`: the only one that is looked at, where it is given."""
    closed: set[str] = set()
    while len(closed) < EACH * processes:  # the API learns of a connection some seconds after it is made
        time.sleep(0.1)
        there = [found for found in management.call("GET", "connections") if vhost in (None, found.get("vhost"))]
        names = {connection["name"] for connection in there}
        closed |= {name for name in names - closed if management.close_connection(name)}
