"""The mongod that `dod` brings along: `mongod` runs it, the other modules are what that takes."""

from store.mongo.embedded.binary import find_mongod
from store.mongo.embedded.mongod import Embedded, embedded

__all__ = ("Embedded", "embedded", "find_mongod")
