"""JSON Schemas of bodies: which are taken, what they say of a body, and how much work that may be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.schema import BodyError, BodySchema
from bridge.schema.document import MAX_ERRORS
from bridge.schema.patterns import compile_pattern
from bridge.schema.work import PAUSE_EVERY, TooMuchWorkError

ENOUGH = 1_000_000  # steps
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFTS = [
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    DRAFT_7,
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-04/schema",
]


def errors(schema, body, steps=ENOUGH):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return [(error.pointer, error.message) for error in BodySchema(schema).errors(text, steps)]


# -- which schemas are taken


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (5, "is no JSON Schema: that is an object, or true or false"),
        ([], "is no JSON Schema: that is an object, or true or false"),
        ({"properties": {"a": {"minLength": -1}}}, "must be at least 0, at /properties/a/minLength (is -1)"),
        ({"properties": {"a": {"type": "x"}}}, 'at /properties/a/type (is "x")'),
        ({"$schema": "https://example.com/own"}, 'names in $schema "https://example.com/own", which is none of'),
        ({"$schema": 5}, "names in $schema 5"),
        ({"$ref": "https://example.com/x.json"}, "nothing is fetched"),
        ({"properties": {"a": {"$ref": "other.json#/x"}}}, 'refers to "other.json#/x" at /properties/a'),
        ({"properties": {"a": {"$ref": "#/$defs/no"}}}, 'refers to "#/$defs/no" at /properties/a'),
        ({"$ref": "#/examples", "examples": [1]}, 'refers to "#/examples" at the top, which is no schema'),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "which is not in the file"),
        ({"$ref": "#/x-own", "x-own": {"$ref": "#/nowhere"}}, 'refers to "#/nowhere" at /x-own'),
        ({"items": {"pattern": "("}}, "has a pattern at /items that is no regular expression"),
        ({"patternProperties": {"[": {}}}, "that is no regular expression"),
        ({"items": {"$schema": DRAFTS[0]}}, "names another $schema at /items"),
        ({"unevaluatedProperties": False, "allOf": [{"patternProperties": {"a": {}}}]}, "together cannot be checked"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_the_place(document, reason):
    with pytest.raises(ValueError) as caught:
        BodySchema(document)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "at line 1, column 2"),
        (b"\xff", "is not UTF-8"),
        (b'{"type": "object", "type": "array"}', 'has "type" twice'),
        (b"[" * 5_000, "is nested too deeply"),
        (b'{"items":' * 300 + b"{}" + b"}" * 300, "is nested too deeply"),
    ],
)
def test_a_file_that_is_no_json_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        BodySchema.parse(text)


@pytest.mark.parametrize("draft", DRAFTS)
def test_each_draft_is_taken_with_and_without_a_fragment(draft):
    for name in (draft.removesuffix("#"), draft.removesuffix("#") + "#"):
        assert errors({"$schema": name, "type": "object"}, []) == [("", "must be of type object")]


def test_the_draft_that_is_named_is_the_one_that_counts():
    pair = {"items": [{"type": "string"}, {"type": "integer"}]}
    assert errors({"$schema": DRAFT_7, **pair}, ["a", "b"]) == [("/1", "must be of type integer")]
    with pytest.raises(ValueError, match="at /items"):
        BodySchema(pair)  # 2020-12 has prefixItems


def test_two_schemas_are_equal_if_their_documents_are():
    one, same = BodySchema({"type": "object"}, Path("a.json")), BodySchema({"type": "object"}, Path("b.json"))
    assert (one, hash(one)) == (same, hash(same))
    assert one != BodySchema({"type": "array"})
    assert one != {"type": "object"}
    assert "a.json" in repr(one)


# -- what they say


@pytest.mark.parametrize(
    ("schema", "body", "message"),
    [
        ({"type": "integer"}, "a", "must be of type integer"),
        ({"type": ["integer", "null"]}, "a", "must be of type integer or null"),
        ({"const": {"a": 1}}, 2, 'must be {"a": 1}'),
        ({"enum": [1, "b"]}, 2, 'must be one of [1, "b"]'),
        ({"minimum": 3}, 2, "must be at least 3"),
        ({"maximum": 3}, 4, "must be at most 3"),
        ({"exclusiveMinimum": 3}, 3, "must be greater than 3"),
        ({"exclusiveMaximum": 3}, 3, "must be less than 3"),
        ({"multipleOf": 0.5}, 0.7, "must be a multiple of 0.5"),
        ({"minLength": 2}, "a", "must have at least 2 characters"),
        ({"maxLength": 2}, "abc", "must have at most 2 characters"),
        ({"pattern": "^a"}, "b", 'must match "^a"'),
        ({"minItems": 1}, [], "must have at least 1 items"),
        ({"maxItems": 1}, [1, 2], "must have at most 1 items"),
        ({"uniqueItems": True}, [{"a": [1]}, {"a": [1.0]}], "must not hold an item twice"),
        ({"contains": {"const": 1}}, [2], "must hold an item that fits the schema of contains"),
        ({"minProperties": 1}, {}, "must have at least 1 members"),
        ({"maxProperties": 0}, {"a": 1}, "must have at most 0 members"),
        ({"required": ["a"]}, {}, 'lacks "a"'),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "lacks a member that another one needs"),
        ({"anyOf": [{"type": "null"}]}, 1, "must fit at least one of the schemas of anyOf"),
        ({"oneOf": [True, True]}, 1, "must fit exactly one of the schemas of oneOf"),
        ({"not": {}}, 1, "must not fit the schema of not"),
        ({"unevaluatedItems": False}, [1], "breaks the rule unevaluatedItems"),
        (False, 1, "must not be there"),
    ],
)
def test_each_rule_says_what_a_value_must_be(schema, body, message):
    assert errors(schema, body) == [("", message)]


def test_a_pointer_leads_to_the_value_however_its_names_are_spelt():
    schema = {
        "properties": {"a/b": {"items": {"properties": {"c~d": {"type": "null"}}, "additionalProperties": False}}},
        "patternProperties": {"^x": {"type": "null"}},
    }
    assert errors(schema, {"a/b": [{}, {"c~d": 1, "e": 2}], "x y": 3}) == [
        ("/a~1b/1/c~0d", "must be of type null"),
        ("/a~1b/1/e", "must not be there"),
        ("/x y", "must be of type null"),
    ]


def test_additional_members_may_have_a_schema_of_their_own():
    schema = {"properties": {"a": True}, "patternProperties": {"^x": True}, "additionalProperties": {"type": "null"}}
    assert errors(schema, {"a": 1, "xb": 1, "c": 1, "d": None}) == [("/c", "must be of type null")]


@pytest.mark.parametrize(("number", "listed"), [(MAX_ERRORS - 1,) * 2, (MAX_ERRORS,) * 2, (MAX_ERRORS + 1, MAX_ERRORS)])
def test_at_most_so_many_errors_are_listed(number, listed):
    assert len(errors({"items": {"type": "null"}}, [1] * number)) == listed


def test_a_large_value_is_not_repeated_in_a_message():
    assert max(len(message) for _, message in errors({"type": "null", "const": "y" * 500}, "x" * 100_000)) < 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is not JSON"),
        (b"{]", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b"NaN", "NaN is no number"),
        (b"-Infinity", "-Infinity is no number"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', 'has "c" twice in one object'),
        (b"9" * 5_000, "too many digits"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_json_or_nothing_to_rely_on_is_an_error_of_the_whole(text, message):
    ((pointer, said),) = errors(True, text)
    assert pointer == ""
    assert message in said


def test_a_whole_number_may_be_large_but_not_too_large_to_divide():
    assert errors({"type": "integer"}, b"9" * 400) == []
    assert errors({"multipleOf": 0.5}, b"9" * 400) == [("", "holds a number that is too large to be checked")]


def test_a_reference_to_the_root_is_followed_within_the_budget():
    tree = {"$schema": DRAFTS[0], "required": ["v"], "properties": {"next": {"$ref": "#"}}}
    assert errors(tree, {"v": 1, "next": {"v": 1, "next": {}}}) == [("/next/next", 'lacks "v"')]
    with pytest.raises(TooMuchWorkError):
        errors(tree, {"v": 1, "next": {"v": 1, "next": {}}}, steps=5)


@pytest.mark.parametrize(
    ("same", "other"), [([1], [1.0]), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (None, None), (False, False)]
)
def test_twins_are_what_json_schema_holds_for_equal(same, other):
    assert errors({"uniqueItems": True}, [same, other])


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), ("1", 1), ([], {}), ([1], [[1]]), (None, False)])
def test_others_are_no_twins(one, other):
    assert errors({"uniqueItems": True}, [one, other]) == []


# -- patterns


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("^[a-z]+$", "abc", True),
        ("^[a-z]+$", "abc\n", False),  # Python's $ would
        (r"^\d+$", "٣", False),  # Python's \d would
        (r"^[\d]$", "7", True),
        (r"^[\d]$", "٣", False),
        (r"^\D$", "٣", True),
        (r"^\w$", "ä", False),
        (r"^[\w-]+$", "a-b_9", True),
        (r"^\W$", "ä", True),
        (r"^[$]\$$", "$$", True),
        (r"^[\]$]$", "$", True),
        (r"^\p{L}+$", "äß", True),
        ("b", "abc", True),  # not anchored
    ],
)
def test_patterns_mean_what_ecma_262_says(pattern, text, matches):
    assert (compile_pattern(pattern).search(text) is not None) is matches


# -- how much work


def test_the_steps_are_those_that_were_allowed_and_no_more():
    schema = BodySchema({"items": {"type": "integer"}})  # one step for items, one for each type
    assert schema.errors(b"[1, 2, 3]", 4) == []
    with pytest.raises(TooMuchWorkError):
        schema.errors(b"[1, 2, 3]", 3)


def test_a_recursive_schema_that_doubles_with_each_level_ends():
    branch = {"properties": {"a": {"$ref": "#"}}, "required": ["x"]}
    body = b'{"a":' * 60 + b"1" + b"}" * 60
    with pytest.raises(TooMuchWorkError):
        BodySchema({"anyOf": [branch, branch]}).errors(body, 20_000)


def test_a_pattern_that_would_take_ages_ends():
    with pytest.raises(TooMuchWorkError):
        errors({"pattern": "^(a|a)*$"}, "a" * 60 + "b", steps=10_000)
    with pytest.raises(TooMuchWorkError):
        errors({"patternProperties": {"^(a|a)*$": False}}, {"a" * 60 + "b": 1}, steps=10_000)
    with pytest.raises(TooMuchWorkError):
        errors({"patternProperties": {"^(a|a)*$": True}, "additionalProperties": False}, {"a" * 60 + "b": 1}, 10_000)


def test_twins_are_looked_for_in_linear_work():
    body = json.dumps([{"a": number} for number in range(5_000)]).encode()
    assert BodySchema({"uniqueItems": True}).errors(body, 5_001) == []


def test_it_pauses_now_and_then():
    pauses = []
    BodySchema({"items": {"type": "integer"}}).errors(
        json.dumps([1] * 10 * PAUSE_EVERY).encode(), ENOUGH, lambda: pauses.append(1)
    )
    assert len(pauses) == 10


def test_a_check_ends_when_its_pause_says_so():
    def enough():
        raise TooMuchWorkError

    with pytest.raises(TooMuchWorkError):
        BodySchema({"items": {"type": "integer"}}).errors(json.dumps([1] * 1_000).encode(), ENOUGH, enough)


def test_an_error_is_a_value():
    assert BodyError("/a", "b") == BodyError("/a", "b")
