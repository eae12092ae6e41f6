"""The HTTP server: uvicorn, with time limits that it does not have. The only place that touches its inner parts."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0  # from the connection, or the last answer, to the end of the next request's head
STALLED_S = 60.0  # in which a client takes nothing of an answer
IDLE = 50  # connections without a request; for one more, the oldest has to go
CONNECTIONS = 100


class Protocol(H11Protocol):
    """HTTP/1.1 in which no client holds a connection by sending nothing, or by reading nothing."""

    _since: float

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the time for the first request's head."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._head: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._watch()
        others = [other for other in self.connections if isinstance(other, Protocol)]
        idle = [other for other in others if not other.busy and not other.transport.is_closing()]
        if len(idle) > IDLE:
            min(idle, key=lambda other: other._since).transport.abort()

    @property
    def busy(self) -> bool:
        """True while a request is answered."""
        return bool(self.cycle) and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """Take in a part of a head, or of a body."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Start the time for the next request's head."""
        super().on_response_complete()
        self._since = self.loop.time()
        self._watch()

    def pause_writing(self) -> None:
        """The client reads no more for now: start the time until it is cut off."""
        super().pause_writing()
        self._stalled = self._stalled or self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._stalled = _stop(self._stalled)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        super().connection_lost(exc)
        self._head, self._stalled = _stop(self._head), _stop(self._stalled)

    def _watch(self) -> None:
        if self.busy:
            self._head = _stop(self._head)
        elif self._head is None and not self.transport.is_closing():
            self._head = self.loop.call_later(HEAD_S, self.transport.abort)


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def make_server(app: Any) -> uvicorn.Server:
    """The server of the application; it gets its sockets when it is run."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        log_level="warning",
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=32 * 1024,
    )
    return uvicorn.Server(config)
