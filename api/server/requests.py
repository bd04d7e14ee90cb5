"""Requests as they are meant, made of what came: the one way to a server of aiohttp's that makes them so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy

from ingest.http.body import EXPECTS

if TYPE_CHECKING:
    import asyncio

    from aiohttp import StreamReader
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.web_request import BaseRequest

    Handler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]

S = TypeVar("S", bound=web.Server)
_NOTHING: Final[Mapping[web.RequestKey[Any], Any]] = {}
_EXPECTED: Final[Mapping[web.RequestKey[Any], Any]] = {EXPECTS: True}


class Meant(NamedTuple):
    """Request as it is meant, and what is known of it before anybody looks at it."""

    message: RawRequestMessage
    known: Mapping[web.RequestKey[Any], Any] = _NOTHING


def server_of(
    made: web.Server,
    kind: type[S],
    meant: Callable[[RawRequestMessage], Meant],
    around: Callable[[Handler], Handler] | None = None,
) -> S:
    """Another kind of the server that aiohttp made, for requests as they are meant."""

    def make(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> BaseRequest:
        message, known = meant(message)
        request = made.request_factory(message, payload, protocol, writer, task)
        for key, value in known.items():
            request[key] = value
        return request

    return kind(
        made.request_handler if around is None else around(made.request_handler),
        request_factory=make,
        handler_cancellation=made.handler_cancellation,
        loop=made._loop,  # noqa: SLF001 -- aiohttp has no other way to requests of another make
        **made._kwargs,  # noqa: SLF001
    )


def as_clients_mean(message: RawRequestMessage) -> Meant:
    """A client's request in origin form, which says `100 Continue` when its body is wanted.

    aiohttp would say it at once. Any other expectation is passed over, as RFC 9110 allows: aiohttp's refusal
    repeats the header.
    """
    message = in_origin_form(message)
    expected = message.headers.get(hdrs.EXPECT)
    if expected is None:
        return Meant(message)
    headers = CIMultiDict(message.headers)
    del headers[hdrs.EXPECT]
    waiting = message._replace(headers=CIMultiDictProxy(headers))
    return Meant(waiting, _EXPECTED if expected.lower() == "100-continue" else _NOTHING)


def in_origin_form(message: RawRequestMessage) -> RawRequestMessage:
    """The request as it would be sent without a proxy: its target is a path, its server the `Host`.

    aiohttp keeps the host of a target in absolute form without its port, which page links then lack.
    https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
    """
    target = message.url
    if not target.absolute or not target.scheme:
        return message
    headers = CIMultiDict(message.headers)
    headers[hdrs.HOST] = target.host_port_subcomponent or ""
    path = target.relative()
    return message._replace(url=path, path=path.raw_path_qs, headers=CIMultiDictProxy(headers))
