"""A FindPlan as the command MongoDB runs: `find` where stored fields will do, else `aggregate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from store.mongo.indexes import RESOURCES
from store.search.planning.joins import KIN, TARGETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.search.planning.joins import Join
    from store.search.planning.plan import FindPlan

Command = dict[str, Any]
Stages = list[dict[str, Any]]

_BATCH: Final = 2_000
"""Above any page, so that one reply holds it unless it is larger than 16 MB."""


def projection(find: FindPlan) -> dict[str, int]:
    """Fields that are read of a match: its bytes, and its place in the order."""
    stored = (name for name, _ in find.sort if name not in find.computed)
    return {"_id": 0, "id": 1, "raw": 1, **dict.fromkeys(stored, 1)}


def page(find: FindPlan, fields: Mapping[str, int]) -> Command:
    """The documents of one page."""
    if find.computed or find.join:
        return _aggregate(find, _page_stages(find, fields))
    # A plain command is a third cheaper than a cursor object for the same reply.
    command = {
        "find": RESOURCES,
        "filter": find.filter,
        "projection": fields,
        "limit": find.limit,
        "batchSize": find.limit,
        "hint": find.hint,
    }
    return {**command, "sort": dict(find.sort)} if find.sort else command


def count(find: FindPlan, *, at_most: int | None, nothing_ends: bool = False) -> Command:
    """Stages that count the matches, as `{"n": …}`; they give no document when there are none.

    Where nothing of the tenant's ever ends, its end is not looked at: the index answers then by itself what
    the keys alone decide, in a third of the server's time.
    """
    matching = dict(find.matching)
    if nothing_ends:
        del matching["expires_at"]
    stages: Stages = [{"$match": matching}]
    if find.join:
        stages.append({"$project": {"_id": 1}})
    if at_most is not None:
        stages.append({"$limit": at_most})
    return _aggregate(find, stages, {"$count": "n"})


def _page_stages(find: FindPlan, fields: Mapping[str, int]) -> Stages:
    stages: Stages = [{"$match": find.filter}]
    if find.computed:
        stages.append({"$project": {**fields, **find.computed}})
        if find.after:
            stages.append({"$match": find.after})
    if find.sort:
        stages.append({"$sort": dict(find.sort)})
    if find.limit:
        stages.append({"$limit": find.limit})
    return stages if find.computed else [*stages, {"$project": dict(fields)}]


def _aggregate(find: FindPlan, stages: Stages, *last: dict[str, Any]) -> Command:
    if find.join:
        return {
            "aggregate": 1,
            "pipeline": [*_joined(find.join, stages), *last],
            "cursor": {"batchSize": _BATCH},
        }
    return aggregate([*stages, *last], hint=find.hint)


def aggregate(stages: Sequence[Mapping[str, Any]], *, hint: str) -> Command:
    """Stages on the resources, begun with an index."""
    return {
        "aggregate": RESOURCES,
        "pipeline": list(stages),
        "cursor": {"batchSize": _BATCH},
        "hint": hint,
    }


def _joined(join: Join, stages: Stages) -> Stages:
    """The stages on what the entries of the targets find, `keys` at their head."""
    found: dict[str, Any] = {"_id": 0, "entries": _entries(join)}
    gathered: dict[str, Any] = {"entries": _gathered(join)}
    lookup: dict[str, Any] = {"from": RESOURCES, "localField": "entries", "foreignField": "keys"}
    if join.tested:
        found["target"] = {"$concat": ["$type", "/", "$id"]}
        gathered[TARGETS] = f"${TARGETS}.target"
        lookup["let"] = {TARGETS: f"${TARGETS}"}
    # A record of the same patient is a target as well.
    ids = {"$concatArrays": [["$id"], {"$ifNull": [f"${KIN}", []]}]}
    alike = [{"$project": {"type": 1, "id": ids}}, {"$unwind": "$id"}]
    targets = [{"$match": join.targets}, *alike, {"$project": found}]
    return [
        {"$documents": [{"entries": list(join.entries)}]},
        {"$lookup": {"from": RESOURCES, "pipeline": targets, "as": TARGETS}},
        {"$project": gathered},
        {"$lookup": {**lookup, "pipeline": stages, "as": "found"}},
        {"$unwind": "$found"},
        {"$replaceRoot": {"newRoot": "$found"}},
    ]


def _entries(join: Join) -> object:
    """Expression for the entries of one target: an entry, or a list of them when each has several."""
    by_type = {target: [_filled(*one) for one in made] for target, made in join.templates.items()}
    whole = {target: made if join.several else made[0] for target, made in by_type.items()}
    *others, last = whole.items()
    branches = [{"case": {"$eq": ["$type", target]}, "then": made} for target, made in others]
    return {"$switch": {"branches": branches, "default": last[1]}} if branches else last[1]


def _filled(before: str, behind: str) -> object:
    return {"$concat": [before, "$id", behind] if behind else [before, "$id"]}


def _gathered(join: Join) -> object:
    """Expression for the entries of all targets, and those that hang on none."""
    found = f"${TARGETS}.entries"
    if not join.several:
        return {"$concatArrays": ["$entries", found]}
    both = {"$concatArrays": ["$$value", "$$this"]}
    return {"$reduce": {"input": found, "initialValue": "$entries", "in": both}}


def examined(explained: Mapping[str, Any]) -> tuple[int, int, int, list[str]]:
    """Documents and keys examined, documents returned, and the stages, of an explained command."""
    if "stages" not in explained:
        ran = explained["executionStats"]
        stages = _stages(explained["queryPlanner"]["winningPlan"])
        return ran["totalDocsExamined"], ran["totalKeysExamined"], ran["nReturned"], stages
    documents = keys = 0
    names: list[str] = []
    for stage in explained["stages"]:
        name = next(one for one in stage if one.startswith("$"))
        names.append(name)
        if name == "$cursor":
            of_cursor = examined(stage[name])
            documents, keys = documents + of_cursor[0], keys + of_cursor[1]
            names += of_cursor[3]
        # A look-up tells no stages of its own, but by which indexes it went.
        names += ["IXSCAN"] * bool(stage.get("indexesUsed")) + ["COLLSCAN"] * bool(
            stage.get("collectionScans")
        )
        documents += stage.get("totalDocsExamined", 0)
        keys += stage.get("totalKeysExamined", 0)
    return documents, keys, explained["stages"][-1].get("nReturned", 0), names


def _stages(winning: Mapping[str, Any]) -> list[str]:
    winning = winning.get("queryPlan", winning)
    below = [winning["inputStage"]] if "inputStage" in winning else winning.get("inputStages", [])
    return [winning["stage"], *(stage for one in below for stage in _stages(one))]
