"""JSON Patch: the examples of RFC 6902, exact numbers, refusals without values, and properties."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.decode import decode, decode_any
from ingest.pipeline.json_patch import COPIED_MAX, DEPTH_MAX, OPERATIONS_MAX, apply, read, same
from ingest.pipeline.stamp import dump
from store.errors import Category, ServiceError

SENTINEL = "sentinel-7391"


def patched(document: str, patch: str) -> bytes:
    """Both as they are sent; the outcome as it would be stored."""
    return dump(apply(decode(document.encode()), read(decode_any(patch.encode()))))


APPENDIX_A = [
    ('{"foo":"bar"}', '[{"op":"add","path":"/baz","value":"qux"}]', '{"foo":"bar","baz":"qux"}'),
    (
        '{"foo":["bar","baz"]}',
        '[{"op":"add","path":"/foo/1","value":"qux"}]',
        '{"foo":["bar","qux","baz"]}',
    ),
    ('{"baz":"qux","foo":"bar"}', '[{"op":"remove","path":"/baz"}]', '{"foo":"bar"}'),
    ('{"foo":["bar","qux","baz"]}', '[{"op":"remove","path":"/foo/1"}]', '{"foo":["bar","baz"]}'),
    (
        '{"baz":"qux","foo":"bar"}',
        '[{"op":"replace","path":"/baz","value":"boo"}]',
        '{"baz":"boo","foo":"bar"}',
    ),
    (
        '{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}',
        '[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]',
        '{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}',
    ),
    (
        '{"foo":["all","grass","cows","eat"]}',
        '[{"op":"move","from":"/foo/1","path":"/foo/3"}]',
        '{"foo":["all","cows","eat","grass"]}',
    ),
    (
        '{"baz":"qux","foo":["a",2,"c"]}',
        '[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]',
        '{"baz":"qux","foo":["a",2,"c"]}',
    ),
    (
        '{"foo":"bar"}',
        '[{"op":"add","path":"/child","value":{"grandchild":{}}}]',
        '{"foo":"bar","child":{"grandchild":{}}}',
    ),
    ('{"foo":"bar"}', '[{"op":"add","path":"/baz","value":"qux","xyz":123}]', '{"foo":"bar","baz":"qux"}'),
    ('{"/":9,"~1":10}', '[{"op":"test","path":"/~01","value":10}]', '{"/":9,"~1":10}'),
    (
        '{"foo":["bar"]}',
        '[{"op":"add","path":"/foo/-","value":["abc","def"]}]',
        '{"foo":["bar",["abc","def"]]}',
    ),
    # Beyond the appendix.
    ('{"a":1}', "[]", '{"a":1}'),
    ('{"a":1}', '[{"op":"replace","path":"","value":{"b":2}}]', '{"b":2}'),
    ('{"a":1}', '[{"op":"add","path":"/a","value":null}]', '{"a":null}'),
    ('{"a":[1]}', '[{"op":"add","path":"/a/1","value":2}]', '{"a":[1,2]}'),
    ('{"":1}', '[{"op":"remove","path":"/"}]', "{}"),
    ('{"a":[1,{"b":2}]}', '[{"op":"copy","from":"/a/1","path":"/a/0"}]', '{"a":[{"b":2},1,{"b":2}]}'),
    ('{"a":1}', '[{"op":"move","from":"/a","path":"/a"}]', '{"a":1}'),
    ('{"a":{"b":1}}', '[{"op":"move","from":"/a/b","path":"/a"}]', '{"a":1}'),
]


@pytest.mark.parametrize(("document", "patch", "expected"), APPENDIX_A)
def test_operations(document: str, patch: str, expected: str) -> None:
    assert patched(document, patch) == expected.encode()


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ('{"v": 1.00, "s": "x"}', '[{"op":"replace","path":"/s","value":"y"}]', '{"v":1.00,"s":"y"}'),
        ('{"v":1}', '[{"op":"replace","path":"/v","value":2.500}]', '{"v":2.500}'),
        ('{"v":0.10}', '[{"op":"copy","from":"/v","path":"/w"}]', '{"v":0.10,"w":0.10}'),
        ('{"v":1.0}', '[{"op":"test","path":"/v","value":1.00}]', '{"v":1.0}'),
        ('{"v":1e2}', '[{"op":"test","path":"/v","value":100}]', '{"v":1e2}'),
        (
            '{"v":12345678901234567890.123456789}',
            '[{"op":"test","path":"/v","value":12345678901234567890.1234567890}]',
            '{"v":12345678901234567890.123456789}',
        ),
    ],
)
def test_digits_stay_and_numbers_are_equal_by_value(document: str, patch: str, expected: str) -> None:
    assert patched(document, patch) == expected.encode()


@pytest.mark.parametrize(
    ("document", "patch"),
    [
        ('{"a":1}', {"op": "remove", "path": "/b"}),
        ('{"a":1}', {"op": "remove", "path": "/a/b"}),
        ('{"a":1}', {"op": "replace", "path": "/b", "value": 1}),
        ('{"a":1}', {"op": "add", "path": "/b/c", "value": 1}),
        ('{"a":1}', {"op": "add", "path": "/a/c", "value": 1}),
        ('{"a":[1]}', {"op": "add", "path": "/a/2", "value": 1}),
        ('{"a":[1]}', {"op": "add", "path": "/a/01", "value": 1}),
        ('{"a":[1]}', {"op": "add", "path": "/a/-1", "value": 1}),
        ('{"a":[1]}', {"op": "remove", "path": "/a/-"}),
        ('{"a":[1]}', {"op": "remove", "path": "/a/1"}),
        ('{"a":[1]}', {"op": "remove", "path": "/a/b"}),
        ('{"a":1}', {"op": "copy", "from": "/b", "path": "/c"}),
        ('{"a":1}', {"op": "move", "from": "/b", "path": "/b"}),
        ('{"a":1}', {"op": "test", "path": "/b", "value": None}),
        ('{"a":"1"}', {"op": "test", "path": "/a", "value": 1}),
        ('{"a":1}', {"op": "test", "path": "/a", "value": True}),
        ('{"a":0}', {"op": "test", "path": "/a", "value": False}),
        ('{"a":[1,2]}', {"op": "test", "path": "/a", "value": [2, 1]}),
        ('{"a":{"b":1}}', {"op": "test", "path": "/a", "value": {"b": 1, "c": 1}}),
        ('{"a":null}', {"op": "test", "path": "/a", "value": {}}),
        ('{"a":1.00}', {"op": "test", "path": "/a", "value": 1.001}),
    ],
)
def test_what_does_not_fit_is_a_conflict_that_names_the_operation(
    document: str, patch: dict[str, Any]
) -> None:
    operations = [{"op": "add", "path": "/z", "value": SENTINEL}, patch]
    with pytest.raises(ServiceError) as refused:
        patched(document, json.dumps(operations))
    assert refused.value.category is Category.CONFLICT
    [issue] = refused.value.issues
    assert issue.expression == ("[1]",)
    assert SENTINEL not in issue.text


@pytest.mark.parametrize(
    "patch",
    [
        {},
        "x",
        [1],
        [{}],
        [{"op": "add", "value": 1}],
        [{"op": "add", "path": "/a"}],
        [{"op": "test", "path": "/a"}],
        [{"op": "replace", "path": "/a"}],
        [{"op": "copy", "path": "/a"}],
        [{"op": "move", "path": "/a"}],
        [{"op": "move", "from": "/a", "path": "/a/b"}],
        [{"op": "Add", "path": "/a", "value": 1}],
        [{"op": ["add"], "path": "/a", "value": 1}],
        [{"op": "add", "path": SENTINEL, "value": 1}],
        [{"op": "add", "path": 1, "value": 1}],
        [{"op": "add", "path": "/~2", "value": 1}],
        [{"op": "add", "path": "/a~", "value": 1}],
        [{"op": "add", "path": "/a" * (DEPTH_MAX + 1), "value": 1}],
        [{"op": "remove", "path": "/a"}] * (OPERATIONS_MAX + 1),
    ],
)
def test_what_is_no_patch_is_refused_whole(patch: Any) -> None:
    with pytest.raises(ServiceError) as refused:
        read(patch)
    assert refused.value.category is Category.INCORRECT
    assert SENTINEL not in str(refused.value.issues)


def test_all_issues_are_said_at_once() -> None:
    with pytest.raises(ServiceError) as refused:
        read([{"op": "add"}, {"op": "remove", "path": "/a"}, 7])
    assert [issue.expression for issue in refused.value.issues] == [("[0]",), ("[2]",)]


def test_a_resource_stays_an_object() -> None:
    with pytest.raises(ServiceError) as refused:
        patched('{"a":1}', '[{"op":"replace","path":"","value":[]}]')
    assert refused.value.category is Category.UNPROCESSABLE


def test_copies_cannot_double_without_end() -> None:
    doubling = [{"op": "copy", "from": "", "path": f"/{n}"} for n in range(60)]
    with pytest.raises(ServiceError) as refused:
        apply({"a": "x" * 100}, read(doubling))
    assert refused.value.category is Category.TOO_LARGE
    values = [{"op": "copy", "from": "/extension", "path": "/extension/-"} for _ in range(20)]
    with pytest.raises(ServiceError) as refused:  # A megabyte, and a second of the event loop.
        apply({"extension": [{}]}, read(values))
    assert refused.value.category is Category.TOO_LARGE
    few = apply({"a": "x" * 100}, read(doubling[:10]))
    assert len(dump(few)) < COPIED_MAX


def test_depth_has_an_end() -> None:
    deeper: list[Any] = [{"op": "add", "path": "/a" * n, "value": {}} for n in range(1, DEPTH_MAX)]
    deeper += [{"op": "copy", "from": "/a", "path": "/a" * n} for n in range(2, DEPTH_MAX)]
    with pytest.raises(ServiceError) as refused:
        apply({}, read(deeper))
    assert refused.value.category in (Category.INCORRECT, Category.TOO_LARGE)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=3), values, max_size=4)


def pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


@given(objects, st.text(max_size=3), values)
def test_what_was_added_is_there_and_goes_again(document: dict[str, Any], name: str, value: Any) -> None:
    before = json.dumps(document)
    path = pointer(name)
    add = {"op": "add", "path": path, "value": value}
    test = {"op": "test", "path": path, "value": value}
    assert apply(document, read([add, test])) == {**document, name: value}
    without = {key: one for key, one in document.items() if key != name}
    assert apply(document, read([add, {"op": "remove", "path": path}])) == without
    assert json.dumps(document) == before


@given(values, values)
def test_sameness_is_json_s(one: Any, other: Any) -> None:
    assert same(one, json.loads(json.dumps(one)))
    assert same(one, other) is (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))
