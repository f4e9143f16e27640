"""The OpenAPI document: that it is sound in itself, and that it says what the settings and the error table say."""

from __future__ import annotations

import json
import re

import pytest
from jsonschema import Draft202012Validator

from bridge.openapi import make_document
from bridge.openapi.operations import ALWAYS, SOMETIMES, Asks, problems_of
from bridge.problems import CONTENT_TYPE, TABLE, Problem, retry_later
from bridge.schema import BodySchema
from bridge.settings import Caller, Jwt, Route, Server, Settings

ENCODED = {"pass_headers": ("content-encoding",)}
# What only the bridge's own pages answer.
OF_PAGES = {
    "method-not-allowed", "settings-refused", "no-job", "job-gone", "job-final",
    "no-dead-letter", "dead-letter-busy", "not-replayable",
}  # fmt: skip
OF_EVENTS = {"slow-reader"}  # of a call it is the last event, never an answer
TREE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://example.com/tree",
    "$defs": {"leaf": {"$anchor": "leaf", "type": "string"}, "any": True},
    "properties": {
        "next": {"$ref": "#"},
        "by-anchor": {"$ref": "#leaf", "description": "kept"},
        "by-id": {"$ref": "tree#/$defs/leaf"},
        "anything": {"$ref": "#/$defs/any"},
        "$ref": {"const": {"$ref": "only a value"}},
    },
}


def route(name="a", path="/a", **options):
    return Route(name=name, path=path, queue="q", **options)


def document(*routes, callers=(), jwt=None, **server):
    return make_document(Settings(server=Server(**server), routes=routes, callers=callers, jwt=jwt), "1.2.3")


def operation(made, path="/a", method="post"):
    return made["paths"][path][method]


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from references(each)


def resolved(made, reference):
    node = made
    for part in reference.replace("~1", "/").removeprefix("#/").split("/"):
        node = node[int(part)] if isinstance(node, list) else node[part]
    return node


EVERYTHING = document(
    route("one", "/one/{size}/{fit}", methods={"GET", "POST", "HEAD"}, accepts=("image/png",), persistent=True),
    route("two", "/one/{size}/{fit}", methods={"PUT"}, schema_=BodySchema(TREE), idempotency="required"),
    route("three", "/", methods={"OPTIONS", "DELETE", "PATCH"}, async_="never", idempotency="off"),
)


def test_every_reference_leads_somewhere():
    found = [each for each in references(EVERYTHING) if each != "only a value"]
    assert len(found) > 50
    for each in found:
        assert resolved(EVERYTHING, each) is not None


def test_operation_ids_are_unique_and_name_their_route():
    ids = [each["operationId"] for methods in EVERYTHING["paths"].values() for each in methods.values()]
    assert sorted(ids) == [
        "delete_three", "get_one", "head_one", "jobs.cancel", "jobs.events", "jobs.get", "jobs.result",
        "options_three", "patch_three", "post_one", "put_two",
    ]  # fmt: skip


def test_component_names_are_those_that_openapi_allows():
    for kind in EVERYTHING["components"].values():
        assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", name) for name in kind)


def test_it_is_json():
    assert json.loads(json.dumps(EVERYTHING)) == EVERYTHING


def test_a_bridge_without_routes_has_a_document_too():
    made = document()
    assert (made["openapi"], made["paths"], made["info"]["version"]) == ("3.1.1", {}, "1.2.3")


# -- problems


def test_of_each_problem_it_is_decided_whether_routes_give_it():
    assert set(ALWAYS) | set(SOMETIMES) | OF_PAGES | OF_EVENTS == set(TABLE)
    assert not (set(ALWAYS) | set(SOMETIMES)) & (OF_PAGES | OF_EVENTS)


@pytest.mark.parametrize(
    ("problem", "gives", "does_not"),
    [
        ("no-route", {"path": "/a/{x}"}, {}),
        ("unsupported-media-type", {}, ENCODED),
        ("unsupported-media-type", {**ENCODED, "accepts": ("a/b",)}, ENCODED),
        ("invalid-body", {"schema_": BodySchema(True)}, {}),
        ("store-unavailable", {}, {"async_": "never", "idempotency": "off"}),
        ("store-unavailable", {"async_": "never"}, {"async_": "never", "idempotency": "off"}),
    ],
)
def test_some_problems_depend_on_the_route(problem, gives, does_not):
    assert problem in problems_of(route(**gives), Asks.THIS_MACHINE)
    assert problem not in problems_of(route(**does_not), Asks.THIS_MACHINE)


KEYED = Caller(name="shop", key_sha256="0" * 64)
ISSUER = Jwt(issuer="i", audience="a", jwks_url="https://i.example/keys")


@pytest.mark.parametrize(
    ("settings", "statuses"),
    [
        ({}, {"403"}),
        ({"allow_anonymous": True}, set()),
        ({"callers": [KEYED]}, {"401", "403", "429"}),
        ({"jwt": ISSUER}, {"401", "403", "429"}),
    ],
)
def test_whom_a_bridge_asks_decides_which_refusals_there_are(settings, statuses):
    responses = operation(document(route(), **settings))["responses"]
    assert {"401", "403", "429"} & set(responses) == statuses


def test_keys_unavailable_is_a_problem_of_tokens_only():
    assert "keys-unavailable" in problems_of(route(), Asks.CALLERS_WITH_TOKENS)
    assert "keys-unavailable" not in problems_of(route(), Asks.CALLERS)


def test_the_ways_to_say_who_one_is_are_told():
    certified = Caller(name="other", certificate_subject="CN=other")
    made = document(route(), callers=[KEYED, certified])
    assert made["security"] == [{"bearer": []}, {"certificate": []}]
    schemes = made["components"]["securitySchemes"]
    assert (schemes["bearer"]["scheme"], schemes["certificate"]["type"]) == ("bearer", "mutualTLS")
    assert "security" not in document(route())
    assert document(route(), jwt=ISSUER)["security"] == [{"bearer": []}]


def test_every_problem_of_a_route_is_described_with_its_ran_and_its_members():
    made = document(route(path="/a/{x}", schema_=BodySchema(True)), jwt=ISSUER, public_url="https://example.com/mq")
    schemas = made["components"]["schemas"]
    for name in (*ALWAYS, *SOMETIMES):
        row = TABLE[name]
        schema = schemas[f"problem.{name}"]
        Draft202012Validator.check_schema(schema)
        members = schema["properties"]
        assert members["type"] == {"const": f"https://example.com/mq/problems/{name}"}
        assert members["status"] == {"const": row.status}
        assert members["ran"]["enum"] == [row.ran, *row.also]
        assert set(row.extra) <= set(members)
        response = resolved(made, operation(made, "/a/{x}")["responses"][str(row.status)]["$ref"])
        assert f"- `{name}` (ran: " in response["description"]
        assert f"problem.{name}" in json.dumps(response["content"][CONTENT_TYPE])


@pytest.mark.parametrize(
    "problem",
    [
        Problem("invalid-request", "x", extra={"field": "prefer"}),
        Problem("body-too-large", "x", extra={"limit_bytes": 5}),
        Problem("unsupported-media-type", "x", extra={"accepts": ["a/b"]}),
        Problem("invalid-body", "x", extra={"errors": [{"pointer": "/a", "message": "x"}]}),
        Problem("deadline", "x", "no", {"phase": "unknown"}),
        Problem("deadline", "x", "yes", {"phase": "running"}),
        retry_later("broker-unavailable", "x", "maybe"),
        retry_later("no-worker", "x", "maybe"),
        Problem("poisoned", "x"),
    ],
    ids=str,
)
def test_problems_as_they_are_sent_fit_their_description(problem):
    made = document(route(schema_=BodySchema(True)))
    schema = made["components"]["schemas"][f"problem.{problem.name}"]
    Draft202012Validator(schema).validate(json.loads(problem.body("/a", "0" * 32)))


def test_a_503_says_when_to_come_back():
    made = document(route())
    headers = {
        status: set(resolved(made, operation(made)["responses"][status]["$ref"])["headers"])
        for status in ("503", "504")
    }
    assert headers["503"] - headers["504"] == {"Retry-After"}
    assert {"Correlation-Id", "Server-Timing"} <= headers["504"]


def test_a_worker_may_answer_anything():
    responses = operation(document(route(pass_reply_headers=("etag",))))["responses"]
    for answer in (responses["2XX"], responses["default"]):
        assert answer["content"] == {"*/*": {}}
        assert {"Correlation-Id", "Server-Timing", "etag"} <= set(answer["headers"])


# -- requests


def parameters(made, path="/a", method="post"):
    found = [
        resolved(made, each["$ref"]) if "$ref" in each else each for each in operation(made, path, method)["parameters"]
    ]
    return {(each["in"], each["name"]): each for each in found}


def test_the_parameters_of_a_path_are_described():
    found = parameters(document(route(path="/a/{x}/{y}")), "/a/{x}/{y}")
    for name in ("x", "y"):
        assert found["path", name]["required"] is True
        assert found["path", name]["schema"]["pattern"] == "^[A-Za-z0-9_-]{1,64}$"


def test_headers_that_every_route_knows_and_those_that_it_passes():
    found = parameters(document(route(pass_headers=("x-own", "accept", "prefer"))))
    names = [name for place, name in found if place == "header"]
    assert names == ["Prefer", "Priority", "traceparent", "tracestate", "Idempotency-Key", "x-own"]


@pytest.mark.parametrize(("rule", "expected"), [("off", None), ("optional", False), ("required", True)])
def test_an_idempotency_key_is_described_where_it_is_looked_at(rule, expected):
    found = parameters(document(route(idempotency=rule))).get(("header", "Idempotency-Key"))
    assert (None if found is None else found.get("required", False)) is expected


@pytest.mark.parametrize(
    ("key", "matches"),
    [("a", True), ('"a"', True), ("a" * 255, True), ("a" * 256, False), ('a"', False), ("a\\", False), ("", False)],
)
def test_the_pattern_of_a_key_is_that_of_the_contract(key, matches):
    found = parameters(document(route()))["header", "Idempotency-Key"]
    assert Draft202012Validator(found["schema"]).is_valid(key) is matches


@pytest.mark.parametrize(
    ("options", "types", "required"),
    [
        ({}, ["*/*"], False),
        ({"accepts": ("image/png", "text/plain")}, ["image/png", "text/plain"], False),
        ({"schema_": BodySchema(True)}, ["application/json"], True),
        ({"schema_": BodySchema(True), "accepts": ("application/x+json",)}, ["application/x+json"], True),
    ],
)
def test_bodies_are_described_by_accepts_and_schema(options, types, required):
    body = operation(document(route(**options)))["requestBody"]
    assert (list(body["content"]), body["required"]) == (types, required)
    if "schema_" in options:
        assert body["content"][types[0]] == {"schema": {"$ref": "#/components/schemas/body.a"}}


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_methods_without_content_have_no_body(method):
    assert "requestBody" not in operation(document(route(methods={method})), method=method.lower())


def test_limits_are_told_as_people_write_them():
    made = document(route(timeout=90.0, max_body=65_536, max_reply=1 << 20, persistent=True))
    told = operation(made)["description"] + operation(made)["requestBody"]["description"]
    for said in ("90\N{NO-BREAK SPACE}s", "64\N{NO-BREAK SPACE}KiB", "1\N{NO-BREAK SPACE}MiB", "restart of the broker"):
        assert said in told


def test_paths_are_below_the_public_url():
    assert document(route(), public_url="https://example.com/mq")["servers"] == [{"url": "https://example.com/mq"}]
    assert document(route())["servers"] == [{"url": "/"}]


# -- schemas of bodies


def test_a_schema_keeps_its_meaning_when_it_becomes_a_component():
    made = document(route("tree", schema_=BodySchema(TREE)))
    component = made["components"]["schemas"]["body.tree"]
    properties = component["properties"]
    at = "#/components/schemas/body.tree"
    assert properties["next"] == {"$ref": at}
    assert properties["by-anchor"] == {"$ref": f"{at}/$defs/leaf", "description": "kept"}
    assert properties["by-id"] == {"$ref": f"{at}/$defs/leaf"}
    assert properties["anything"] == {"allOf": [True]}
    assert properties["$ref"] == {"const": {"$ref": "only a value"}}
    assert "$id" not in component
    assert "$schema" not in component
    validator = Draft202012Validator({"$ref": at, "components": made["components"]})
    for value in ({"next": {"by-anchor": "a"}}, {"by-id": 5}, {"next": {"next": {"by-anchor": 5}}}, {"anything": 5}):
        assert validator.is_valid(value) is (not BodySchema(TREE).errors(json.dumps(value).encode(), 1_000))


def test_an_older_draft_is_named():
    draft = "http://json-schema.org/draft-07/schema#"
    made = document(route(schema_=BodySchema({"$schema": draft, "definitions": {"a": {}}, "$ref": "#/definitions/a"})))
    assert made["components"]["schemas"]["body.a"]["$schema"] == draft


@pytest.mark.parametrize("schema", [True, False])
def test_true_and_false_are_schemas(schema):
    assert document(route(schema_=BodySchema(schema)))["components"]["schemas"]["body.a"] is schema
