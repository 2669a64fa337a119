"""HTTP/1.1 with deadlines: a connection that sends nothing, or too slowly, is closed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from paddlenlp_embtune.server._responses import error_response

__all__ = ["DeadlineConfig", "DeadlineProtocol", "OnRefusal"]

_MOST_HEAD_BYTES = 1 << 14
_NEVER_SECONDS = 1 << 20
_WATCH_SECONDS = 0.05

OnRefusal = Callable[..., None]
"""Called with the application, and by name ``status``, ``code``, ``client``, and ``under_way``: whether the application is
handling the request, and will report it too."""


class DeadlineConfig(uvicorn.Config):
    """uvicorn's settings, with two deadlines and a callback for refused requests.

    Args:
        app: application, or where worker processes import its factory from.
        read_seconds: from a request's first byte, or from the opening of the connection, to the last byte of its body.
        idle_seconds: from the end of a response to the first byte of the next request; also how long a client may leave a
            response unread.
        on_refusal: called for every refusal that does not come from the application; None for no callback.
        options: further settings of uvicorn.
    """

    def __init__(
        self, app: Any, *, read_seconds: float, idle_seconds: float, on_refusal: OnRefusal | None = None, **options: Any
    ) -> None:
        self.read_seconds = read_seconds
        self.idle_seconds = idle_seconds
        self.on_refusal = on_refusal
        # uvicorn's own timer runs between two requests only; ours does that too.
        super().__init__(
            app,
            http=DeadlineProtocol,
            ws="none",
            timeout_keep_alive=_NEVER_SECONDS,
            h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
            **options,
        )


class DeadlineProtocol(H11Protocol):
    """One connection, with one timer for what its client has to send next, and one for what it has to read."""

    config: DeadlineConfig
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _watcher: asyncio.TimerHandle | None = None
    _reading = True
    _half_closed = False
    _probed: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._arm(self.config.read_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel every timer of the connection."""
        self._disarm()
        self._stop_waiting_for_reader()
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle received bytes, and set the timer for what must follow."""
        super().data_received(data)
        self._settle()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Finish the request of a client that sends nothing more; refuse half a request; close if there is neither."""
        self._half_closed = True
        return self._finish_half_closed()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        # uvicorn leaves its timer, and with it the connection, in memory if the client resets the connection.
        self._unset_keepalive_if_required()
        if self._half_closed and not self.transport.is_closing() and not self._finish_half_closed():
            self.transport.close()
        self._settle()

    def pause_writing(self) -> None:
        """Start the timer for a client that does not read its response."""
        super().pause_writing()
        self._stop_waiting_for_reader()
        self._unread = self.loop.call_later(self.config.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that timer: the client has read."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def shutdown(self) -> None:
        """Close the connection, or let it finish its response."""
        super().shutdown()
        self._settle()

    def send_400_response(self, msg: str) -> None:
        """Respond to bytes that are not HTTP."""
        self._refuse(400, "bad_request", f"{msg} Send HTTP/1.1.")

    def _settle(self) -> None:
        """Set the timer; a request that has begun keeps the one it began with."""
        if self.transport.is_closing():
            self._linger()
            return
        state = self.conn.their_state
        if state is h11.SEND_BODY or (state is h11.IDLE and self.conn.trailing_data[0]):
            if not self._reading:
                self._reading = True
                self._arm(self.config.read_seconds)
            return
        self._reading = False
        if state is h11.IDLE:
            self._arm(self.config.idle_seconds)
        else:
            self._disarm()

    def _finish_half_closed(self) -> bool:
        """Finish what a client that sends nothing more has begun; False if there is nothing."""
        theirs, ours = self.conn.their_state, self.conn.our_state
        if (theirs is h11.SEND_BODY and ours is h11.SEND_RESPONSE) or (theirs is h11.IDLE and self.conn.trailing_data[0]):
            self._refuse(400, "bad_request", "the client closed its side before the request was complete; send all of it")
            return True
        if self.cycle is None or self.cycle.response_complete:
            return False
        if self._watcher is None:
            self._watcher = self.loop.call_later(2 * _WATCH_SECONDS, self._watch)
        return True

    def _watch(self) -> None:
        """Find out whether a client that sends nothing more is still there to read its response.

        A client that closed only its sending side and one that has gone look the same until something is sent: then one that
        has gone resets the connection. So a client that waits for a while is sent an interim response, which every client of
        HTTP/1.1 skips.
        """
        self._watcher = None
        if self.transport.is_closing() or self.cycle is None or self.cycle.response_complete:
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
            return
        if (
            self._probed is not self.cycle
            and self.conn.our_state is h11.SEND_RESPONSE
            and self.conn.their_http_version == b"1.1"
        ):
            self._probed = self.cycle
            self.transport.write(self.conn.send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue")))
        self._watcher = self.loop.call_later(_WATCH_SECONDS, self._watch)

    def _unwatch(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    def _linger(self) -> None:
        """Give the client a limited time to read the rest, if there is any."""
        self._reading = False
        self._disarm()
        if self.transport.get_write_buffer_size():
            self._arm(self.config.idle_seconds)

    def _stop_waiting_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        begun = self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])
        if self._reading and begun:
            seconds = self.config.read_seconds
            self._refuse(408, "too_slow", f"the request was not complete within {seconds:g} seconds; send it faster")
        elif self.transport.get_write_buffer_size():
            self.transport.abort()  # close would wait for a client that does not read
        else:
            self.transport.close()

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Respond in place of the application, unless it has started to respond, and close the connection."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        if self.config.on_refusal is not None:
            under_way = self.cycle is not None and not self.cycle.response_complete
            client = self.client[0] if self.client else ""
            self.config.on_refusal(self.app, status=status, code=code, client=client, under_way=under_way)
        response = error_response(status, code, message, headers={"Connection": "close"})
        events = (
            h11.Response(status_code=status, headers=response.raw_headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        )
        for event in events:
            if output := self.conn.send(event):
                self.transport.write(output)
        self.transport.close()
        self._settle()
