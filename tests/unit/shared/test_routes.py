"""The table of who handles which event says what the services subscribe to."""

from __future__ import annotations

from importlib import import_module

from shared.events import EVENTS
from shared.schemas import ROUTES, known_queues

SERVICES = ("generator", "augmenter", "labeler_api", "trainer", "model_server")


def test_the_routes_are_what_the_services_handle() -> None:
    handled = {
        (event.name(), service.replace("_", "-"))
        for service in SERVICES
        for event in import_module(f"services.{service}.handlers").HANDLERS
    }
    routed = {(event, receiver) for event, (_, receivers) in ROUTES.items() for receiver in receivers}
    assert {(event, receiver) for event, receiver in routed if receiver != "operator"} == handled
    assert set(ROUTES) == set(EVENTS)


def test_dead_letters_are_looked_for_wherever_an_event_is_handled() -> None:
    assert {"labeler-api.RebalanceRequested", "trainer.QuotaMet"} <= set(known_queues())
