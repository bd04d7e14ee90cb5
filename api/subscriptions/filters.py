"""Filters of a subscription: searches on the topic's type, all of which hold, read as any search is. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from store.errors import ServiceError
from store.search.criteria import SearchQuery
from store.search.parsing.parse import parse
from store.search.parsing.query_text import pairs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from store.search.parsing.context import SearchContext
    from store.search.parsing.query_text import Pair
    from store.subscriptions.topics import Topic

PATH: Final = "Subscription.criteria.extension"
FILTERS_MAX: Final = 20
_SHAPING: Final = "a filter says which resources match, and nothing of how a page of them looks"


def query_of(
    topic: Topic, filters: Sequence[str], context: SearchContext, refuse: Callable[[str, str], None]
) -> SearchQuery | None:
    """The query that all filters of a subscription are; None where `refuse` was called."""
    if len(filters) > FILTERS_MAX:
        refuse(PATH, f"there may be {FILTERS_MAX} filters")
        return None
    pairs: list[Pair] = []
    understood = True
    for number, text in enumerate(filters):
        path = f"{PATH}[{number}]"
        named, question, query = text.partition("?")
        if question and named != topic.type:
            refuse(path, f"is a search on {topic.type}, the type of the topic: `{topic.type}?…`")
            understood = False
            continue
        try:
            own = pairs_of(query if question else text, of="a filter", where=(path,))
            _read(topic, own, context)
        except ServiceError as error:
            for issue in error.issues:
                refuse(path, issue.text)
            understood = False
        else:
            if not own:
                refuse(path, "is empty: a filter is a search such as `status=final`")
                understood = False
            pairs += own
    return _read(topic, [*pairs, *pairs_of(topic.filter)], context, refuse) if understood else None


def standing_query(topic: Topic, filters: Sequence[str], context: SearchContext) -> SearchQuery:
    """The query of filters that were read before. Raises ServiceError when they are no longer understood."""
    pairs = [pair for text in filters for pair in pairs_of(text.partition("?")[2] or text)]
    return parse(topic.type, [*pairs, *pairs_of(topic.filter)], context._replace(strict=True)).query


def _read(
    topic: Topic,
    pairs: Sequence[Pair],
    context: SearchContext,
    refuse: Callable[[str, str], None] | None = None,
) -> SearchQuery | None:
    query = parse(topic.type, pairs, context._replace(strict=True)).query
    plain = replace(SearchQuery(topic.type), count=query.count, bytes_max=query.bytes_max)
    if replace(query, clauses=()) != plain:
        if refuse is None:
            return query
        refuse(PATH, _SHAPING)
        return None
    return query
