"""The database behind mongos: every filter is sent with its tenant's part of the shard key.

Whoever asks for a collection gets one whose verbs do so: no other module has to think of shards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motor.core import AgnosticCollection
from motor.frameworks import asyncio as asyncio_framework
from motor.metaprogramming import create_class_with_framework
from motor.motor_asyncio import AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo.synchronous.collection import Collection
from pymongo.synchronous.database import Database
from typing_extensions import override

from store.mongo.sharding import BY_ID, pipeline, ranged, routed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _with_range(verb: str) -> Callable[..., Any]:
    """The driver's verb, whose first argument is a filter."""
    plain = getattr(Collection, verb)

    def asked(self: Any, filter: Mapping[str, Any], *rest: Any, **options: Any) -> Any:  # noqa: A002, ANN401
        return plain(self, ranged(filter) if self.name in BY_ID else filter, *rest, **options)

    return asked


class _RoutedCollection(Collection[Any]):
    """A collection of the driver's, in a thread."""

    update_one = _with_range("update_one")
    update_many = _with_range("update_many")
    replace_one = _with_range("replace_one")
    delete_one = _with_range("delete_one")
    delete_many = _with_range("delete_many")
    count_documents = _with_range("count_documents")
    find_one_and_update = _with_range("find_one_and_update")
    find_one_and_replace = _with_range("find_one_and_replace")
    find_one_and_delete = _with_range("find_one_and_delete")

    @override
    def find(self, filter: Any = None, *rest: Any, **options: Any) -> Any:
        """As the driver's; `find_one` calls it too."""
        return super().find(ranged(filter or {}) if self.name in BY_ID else filter, *rest, **options)

    @override
    def distinct(self, key: str, filter: Any = None, *rest: Any, **options: Any) -> Any:
        return super().distinct(key, ranged(filter or {}) if self.name in BY_ID else filter, *rest, **options)

    @override
    def aggregate(self, pipeline: Any, *rest: Any, **options: Any) -> Any:
        return super().aggregate(_stages(self.name, pipeline), *rest, **options)

    @override
    def bulk_write(self, requests: Any, *rest: Any, **options: Any) -> Any:
        if self.name in BY_ID:
            for one in requests:
                if hasattr(one, "_filter"):
                    one._filter = ranged(one._filter)  # noqa: SLF001 -- an operation cannot be read otherwise
        return super().bulk_write(requests, *rest, **options)

    @override
    def with_options(self, *rest: Any, **options: Any) -> Any:
        made = super().with_options(*rest, **options)
        return _RoutedCollection(
            self.database,
            self.name,
            codec_options=made.codec_options,
            read_preference=made.read_preference,
            write_concern=made.write_concern,
            read_concern=made.read_concern,
        )


_stages = pipeline


class _RoutedDatabase(Database[Any]):
    """A database of the driver's, in a thread."""

    routed = staticmethod(routed)

    @override
    def __getitem__(self, name: str) -> Any:
        return _RoutedCollection(self, name)

    @override
    def command(self, command: Any, *rest: Any, **options: Any) -> Any:
        return super().command(command if isinstance(command, str) else routed(command), *rest, **options)

    @override
    def cursor_command(self, command: Any, *rest: Any, **options: Any) -> Any:
        return super().cursor_command(routed(command), *rest, **options)


class _AgnosticCollection(AgnosticCollection[Any]):
    """Pattern of Motor's collection: its verbs call those of this class, whatever the delegate's class is."""

    __delegate_class__ = _RoutedCollection


_MotorCollection: Any = create_class_with_framework(
    _AgnosticCollection, asyncio_framework, AsyncIOMotorCollection.__module__
)


class _Collection(_MotorCollection):  # type: ignore[misc]
    """A collection of Motor's on one of these."""

    @override
    def with_options(self, **options: Any) -> Any:
        return _Collection(self.database, self.name, _delegate=self.delegate.with_options(**options))


class RoutedDatabase(AsyncIOMotorDatabase[Any]):
    """A database of Motor's on one of these."""

    def __init__(self, client: Any, name: str) -> None:  # noqa: ANN401 -- Motor's
        super().__init__(client, name, _delegate=_RoutedDatabase(client.delegate, name))

    @override
    def __getitem__(self, name: str) -> Any:
        return _Collection(self, name, _delegate=self.delegate[name])
