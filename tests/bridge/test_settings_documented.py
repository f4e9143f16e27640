"""The contract page and the sample say what the code does."""

import re
import tomllib
from pathlib import Path

import pytest

from bridge.settings import Route, load, parse
from bridge.settings.fields import METHODS
from bridge.settings.headers import BRIDGE_SET, CREDENTIALS, FRAMING, HOP_BY_HOP
from bridge.settings.models import ARRAYS, TABLES, keys_of
from bridge.settings.paths import RESERVED

ROOT = Path(__file__).parents[2]
CONTRACT = (ROOT / "docs" / "configuration.md").read_text()
SAMPLE = ROOT / "examples" / "bridge.toml"
MODELS = {**TABLES, **ARRAYS}
# The environment is the only place for it, so no table of the file has it.
NOT_IN_THE_FILE = {"passcode"}


def documented(table: str) -> dict[str, str]:
    """Key → default, both as written, of the rows for a table of the file."""
    if table in {"caller", "jwt"}:
        head = "| `[[caller]]` key" if table == "caller" else "| `[jwt]` key"
    else:
        head = f"## `[[{table}]]`" if table in ARRAYS else f"## `[{table}]`"
    rows = CONTRACT[CONTRACT.index(head) :]
    rows = rows[rows.index("|---") :].split("\n\n")[0]
    return dict(re.findall(r"^\| `(\w+)` \| `?(.*?)`? \| 0\.\d+ \| ", rows, re.MULTILINE))


@pytest.mark.parametrize("table", MODELS)
def test_every_key_is_in_the_contract_and_nothing_else(table):
    assert list(documented(table)) == [key for key in keys_of(MODELS[table]) if key not in NOT_IN_THE_FILE]


@pytest.mark.parametrize("table", MODELS)
def test_the_defaults_in_the_contract_are_those_of_the_code(table):
    required = {key: "x" for key, default in documented(table).items() if default == "required"}
    required |= {"route": {"path": "/x"}, "jwt": {"jwks_url": "https://x"}}.get(table, {})
    model = MODELS[table]
    text = "\n".join(f"{key} = {default}" for key, default in documented(table).items() if default != "required")
    assert model.model_validate({**required, **tomllib.loads(text)}) == model.model_validate(required)


def test_the_contract_lists_what_is_never_let_through_and_what_is_reserved():
    for name in (*CREDENTIALS, *FRAMING, *HOP_BY_HOP, *BRIDGE_SET):
        assert f"`{name}`" in CONTRACT
    for segment in RESERVED:
        assert f"`/{segment}`" in CONTRACT
    assert f"`{' '.join(METHODS)}`" in CONTRACT


def test_the_sample_is_taken_without_a_warning():
    settings = load(SAMPLE, {"MQBRIDGE_BROKER__PASSCODE": "x"})
    assert settings.notes == ()
    assert [route.name for route in settings.routes] == ["words", "thumbnails"]


def test_the_sample_shows_the_defaults_where_it_shows_a_key_as_a_comment():
    text = SAMPLE.read_text()
    shown = re.sub(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE)
    assert shown != text
    environ = {"MQBRIDGE_BROKER__PASSCODE": "x"}
    assert parse(shown, base=SAMPLE.parent, environ=environ) == load(SAMPLE, environ)


def test_the_sample_shows_every_key_of_a_route_that_acts():
    acting = set(
        re.findall(
            r"^\| `(\w+)` \| .*? \| 0\.1 \| ",
            CONTRACT[CONTRACT.index("## `[[route]]`") : CONTRACT.index("## `[[caller]]`")],
            re.MULTILINE,
        )
    )
    assert {"timeout", "max_body", "pass_reply_headers"} < acting <= set(keys_of(Route))
    for key in acting:
        assert re.search(rf"^#?{key} = ", SAMPLE.read_text(), re.MULTILINE), key
