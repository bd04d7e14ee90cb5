"""The receiver of `bench.subscriptions`: answers each notification at once and reads it when it is asked to.

`GET /arrived` tells of the events that came since the last time, with their lag. Its port is printed.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from time import time
from typing import Any, Final

import orjson
from typing_extensions import override

from bench.load import END_OF_HEAD

_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ASKED: Final = b"GET /arrived "


class Notifications:
    """Bodies as they came, each with its moment."""

    def __init__(self) -> None:
        self._bodies: list[tuple[float, bytes]] = []

    def came(self, body: bytes) -> None:
        """Keep one."""
        self._bodies.append((time(), body))

    def told(self) -> bytes:
        """Account of all that came since the last one."""
        bodies, self._bodies = self._bodies, []
        lags = sorted(at - moment for at, body in bodies for moment in moments(orjson.loads(body)))
        shown = [lags[min(int(len(lags) * part), len(lags) - 1)] if lags else 0.0 for part in (0.5, 0.95, 1)]
        names = ("p50", "p95", "most")
        return orjson.dumps(
            {"events": len(lags), "notifications": len(bodies), **dict(zip(names, shown, strict=True))}
        )


def moments(bundle: dict[str, Any]) -> list[float]:
    """Moment of each event of a notification, in seconds of the epoch."""
    status = bundle["entry"][0]["resource"]
    events = (one["part"] for one in status["parameter"] if one["name"] == "notification-event")
    instants = (part["valueInstant"] for event in events for part in event if part["name"] == "timestamp")
    return [datetime.fromisoformat(one).astimezone(UTC).timestamp() for one in instants]


class Connection(asyncio.Protocol):
    """Connection of the sender, or of whoever asks."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications
        self._data = b""
        self._transport: asyncio.WriteTransport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, rest = self._data.partition(END_OF_HEAD)
        length = int((head.lower() + b"\r").partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
        if not found or len(rest) < length:
            return
        self._data = b""
        assert self._transport is not None
        if head.startswith(ASKED):
            body = self._notifications.told()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        else:
            self._notifications.came(rest)
            self._transport.write(_OK)


async def main() -> None:
    """Receive until the process is killed."""
    notifications = Notifications()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(notifications), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
