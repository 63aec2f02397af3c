"""The life of a service: wait for its dependencies, serve health and metrics, handle events, drain on SIGTERM.

A service's `app.py` puts a `Service` together; its `__main__` calls `main`. The all-in-one process starts several
services on one bus.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import structlog
from aiohttp import web

from shared.backoff import Backoff
from shared.blobs import Blobs
from shared.bus import Bus, Subscription
from shared.cross_site import host_guard
from shared.errors import ConfigurationError, EvenskinError, ServiceStarting
from shared.events import Event
from shared.half_closed import HalfClosed
from shared.http import (
    add_correlation_header,
    add_operations_routes,
    api_key_guard,
    explain_expectation,
    known_codings,
    open_guard,
    problems,
    request_observer,
)
from shared.logs import configure_logs
from shared.message import Message
from shared.metrics import MetricRegistry, ServiceMetrics
from shared.settings import Settings
from shared.tracing import close_tracing, configure_tracing

log = structlog.get_logger(__name__)

RELEASE_S = 3.0  # seconds for disconnecting after the drain: with EVENSKIN_DRAIN_S below what compose waits
BACKLOG = 128  # connections that wait to be accepted
CANCEL_AGAIN_S = 1.0  # seconds after which a task that is still there is cancelled once more

Loop = Callable[[], Awaitable[None]]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Check = Callable[[], Awaitable[None]]
S = TypeVar("S", bound=Settings)
C = TypeVar("C")


@dataclass
class Service:
    """One service, not yet started.

    `subscriptions`: its event handlers. `loops`: background coroutines that run until cancelled, by name.
    `configure_http` adds the service's routes. `resources` are async context managers entered at start, in
    order, and left in reverse order after the drain. `ready` raises while a dependency does not answer.
    `dependencies`: what must answer before the resources are entered, beside the store, by name.
    `before_drain` is called when the service is told to stop: it begins nothing more that the drain would have to
    wait for. `refresh_metrics` is awaited before every answer of `/metrics`. `unlogged_routes`: whose requests
    are counted, and logged only where the service fails. `ends_abandoned_requests`: whether a request's work is
    cancelled when its client goes away. `guard`: the middleware that lets requests in; without one, the API key does.
    """

    name: str
    settings: Settings
    bus: Bus
    blobs: Blobs
    subscriptions: list[Subscription] = field(default_factory=list)
    loops: dict[str, Loop] = field(default_factory=dict)
    configure_http: Callable[[web.Application], None] | None = None
    resources: list[contextlib.AbstractAsyncContextManager[object]] = field(default_factory=list)
    ready: Check | None = None
    dependencies: dict[str, Check] = field(default_factory=dict)
    before_drain: Callable[[], None] | None = None
    max_request_bytes: int = 1024 * 1024
    registry: MetricRegistry = field(default_factory=MetricRegistry)
    refresh_metrics: Callable[[], Awaitable[None]] | None = None
    unlogged_routes: Collection[str] = ()
    ends_abandoned_requests: bool = False
    guard: Any | None = None
    port: int | None = None  # of the HTTP server, once started

    def __post_init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._is_open = False
        self._is_consuming = False
        self._metrics = ServiceMetrics(self.registry, self.name)
        self.bus.on_published(self._metrics.message_published)

    async def start(self) -> None:
        """Open without waiting, then consume; the bus must be started. On failure, stop what was started."""
        try:
            await self.open(patient=False)
            await self.consume()
        except BaseException:
            await self.stop()
            raise

    async def open(self, *, patient: bool) -> None:
        """Listen, check the dependencies, enter the resources. Until then every request is answered 503.

        A `patient` service waits for its dependencies. Raises ConfigurationError, and the errors of dependencies: if
        patient, only those that waiting does not mend.
        """
        await self._serve_http()
        for name, check in {"object store": self.blobs.check, **self.dependencies}.items():
            await (wait_for(name, check) if patient else check())
        for resource in self.resources:
            await self._stack.enter_async_context(resource)
        self._is_open = True

    async def consume(self) -> None:
        """Start the loops and subscribe. The bus must be started."""
        for name, loop in self.loops.items():
            self._tasks.append(asyncio.create_task(self._supervise(name, loop), name=f"{self.name} {name}"))
        for subscription in self.subscriptions:
            await self.bus.subscribe(self._measured(subscription))
        self._is_consuming = True
        log.info("service_started", service=self.name, port=self.port)

    async def drain(self) -> None:
        """Take no new requests and events, and give those in hand `drain_s` to finish. Unfinished events come again."""
        self._is_open = self._is_consuming = False
        self.begin_drain()
        await asyncio.gather(self.bus.drain(self.settings.drain_s), self._stop_http())

    def begin_drain(self) -> None:
        """Begin nothing more that costs. For whoever drains the bus that the service shares with others."""
        if self.before_drain is not None:
            self.before_drain()

    async def stop(self) -> None:
        """Stop the loops and the HTTP server and release the resources. The bus is drained by its owner."""
        self._is_open = self._is_consuming = False
        await cancel_all(self._tasks)
        self._tasks.clear()
        await self._stop_http()
        await self._stack.aclose()

    async def check(self) -> None:
        """Raise if the bus, the store or the service's own dependency does not answer."""
        await self.bus.check()
        await self.blobs.check()
        if self.ready is not None:
            await self.ready()
        if not self._is_consuming:
            raise ServiceStarting(f"{self.name} does not take work yet.", advice="Try again in a moment.")

    async def _serve_http(self) -> None:
        key = self.settings.api_key
        names = {"localhost", self.settings.host.lower(), *self.settings.further_hosts}
        half_closed = HalfClosed(self.ends_abandoned_requests)
        app = web.Application(
            middlewares=[
                half_closed.middleware(),
                request_observer(self.name, self._metrics, self.unlogged_routes),
                problems,
                # No other site's page has the key, whatever name it gives this machine.
                self.guard or (host_guard(names) if key is None else api_key_guard(key)),
                open_guard(lambda: self._is_open),
                known_codings,
            ],
            client_max_size=self.max_request_bytes,
        )
        app.on_response_prepare.append(add_correlation_header)
        app.on_response_prepare.append(explain_expectation)
        add_operations_routes(app, self.registry, self.check, self.refresh_metrics)
        if self.configure_http is not None:
            self.configure_http(app)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            handler_cancellation=self.ends_abandoned_requests,
            shutdown_timeout=self.settings.drain_s,
        )
        await self._runner.setup()
        make = self._runner.server
        assert make is not None
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: half_closed.protocol(make()), self.settings.host, self.settings.port, backlog=BACKLOG
            )
        except OSError as error:
            raise ConfigurationError(
                f"{self.name} cannot listen on {self.settings.host}:{self.settings.port}: {error.strerror}.",
                advice="Stop what uses the port, or choose another one.",
            ) from error
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop_http(self) -> None:
        runner, self._runner = self._runner, None
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        if runner is not None:
            await runner.cleanup()

    async def _supervise(self, name: str, loop: Loop) -> None:
        """Run a loop for ever. After an error, log it and start the loop again, so that no fault ends it silently."""
        structlog.contextvars.bind_contextvars(service=self.name)
        while True:
            try:
                await loop()
                return
            except Exception as error:
                trace = not isinstance(error, EvenskinError)  # what is down is told in a line
                log.warning("loop_restarted", loop=name, error=f"{type(error).__name__}: {error}", exc_info=trace)
                await asyncio.sleep(1.0)

    def _measured(self, subscription: Subscription) -> Subscription:
        """The subscription with its outcomes counted and its handler timed."""
        event = subscription.event.name()

        async def handle(message: Message) -> None:
            started = time.perf_counter()
            try:
                await subscription.handler(message)
            finally:
                self._metrics.handler_ended(event, time.perf_counter() - started)

        return replace(subscription, handler=handle, on_outcome=partial(self._metrics.delivery_ended, event))


def subscribe_all(
    service: str,
    handlers: Mapping[type[Event], Callable[[C, Message], Awaitable[None]]],
    context: C,
    *,
    prefetch: int,
    settings: Settings,
) -> list[Subscription]:
    """A subscription for every row of a service's handler table. Each handler is called with `context` first."""
    return [
        Subscription(
            service,
            event,
            partial(handler, context),
            prefetch=prefetch,
            max_tries=settings.max_tries,
            retry_delay_s=settings.retry_delay_s,
        )
        for event, handler in handlers.items()
    ]


async def cancel_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended. One cancellation can get lost where another exception comes with it."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)


async def wait_for(name: str, check: Check) -> None:
    """Wait until a dependency answers, logging at growing intervals. Raises errors that waiting does not mend."""
    backoff = Backoff()
    while True:
        try:
            await check()
            return
        except EvenskinError as error:
            if not error.retryable:
                raise
            pause_s = backoff.pause_s()
            log.warning("waiting_for_dependency", dependency=name, error=error.message, retry_in_s=round(pause_s, 1))
        await asyncio.sleep(pause_s)


async def run_service(service: Service) -> None:
    """Run one service in this process until SIGTERM or SIGINT, then drain."""
    stop = asyncio.create_task(stop_signal().wait())
    starting = asyncio.create_task(_start(service))
    try:
        await asyncio.wait({stop, starting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await stop
        log.info("service_draining", service=service.name)
        await cancel_all([starting])
        await service.drain()
    finally:
        await cancel_all([stop, starting])
        await service.stop()
        with contextlib.suppress(TimeoutError):  # a broker that answers no more: what is in hand comes again
            async with asyncio.timeout(RELEASE_S):
                await service.bus.close()
                await service.blobs.close()
    log.info("service_stopped", service=service.name)


async def _start(service: Service) -> None:
    # The broker last: requests are answered without one, and what they cause waits in the ledger's outbox.
    await service.open(patient=True)
    await service.bus.start()
    await service.consume()
    keep_what_is_loaded()


def keep_what_is_loaded() -> None:
    """Take what is loaded now out of the garbage collector's sight, for a process that has started its services.

    Every full collection would look at it again, and hold the event loop for 90 ms.
    """
    gc.collect()
    gc.freeze()


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows: there the signal wakes the loop from outside
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    return stop


def main(
    name: str, settings_class: type[S], build: Callable[[S], Service], loop_factory: LoopFactory | None = None
) -> None:
    """Entry of `python -m services.<service>`: read the settings, build, run. An error is one line, no traceback.

    `loop_factory`: makes the event loop; None: asyncio's own.
    """
    try:
        settings = settings_class.load()
        configure_logs(name, level=settings.log_level, format=settings.log_format)
        configure_tracing(name)
        # Built inside the loop: what it holds may belong to the loop that runs it.
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_build_and_run(settings, build))
    except EvenskinError as error:
        sys.exit(_print_error(error))
    finally:
        close_tracing()


async def _build_and_run(settings: S, build: Callable[[S], Service]) -> None:
    await run_service(build(settings))


def _print_error(error: EvenskinError) -> int:
    sys.stderr.write(f"error[{error.code}]: {error.message}\n" + (f"  → {error.advice}\n" if error.advice else ""))
    return error.exit_status
