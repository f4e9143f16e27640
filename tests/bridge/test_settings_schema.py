"""A route's `schema`: the file is read and checked with the settings."""

from pathlib import Path

import pytest

from bridge.schema import BodySchema
from bridge.settings import Route, SettingsError, parse

ROUTE = '[[route]]\nname = "a"\npath = "/a"\nqueue = "a"\n'


def schema_of(text: str, base: Path) -> BodySchema | None:
    return parse(ROUTE + text, base=base).routes[0].schema_


def fault(text: str, base: Path):
    with pytest.raises(SettingsError) as caught:
        parse(ROUTE + text, base=base)
    (only,) = caught.value.faults
    return only


def test_the_file_is_found_beside_the_settings(tmp_path):
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "a.json").write_text('{"type": "object"}')
    found = schema_of('schema = "schemas/a.json"\n', tmp_path)
    assert found == BodySchema({"type": "object"})
    assert found.path == tmp_path / "schemas" / "a.json"


def test_an_empty_path_is_no_schema(tmp_path):
    assert schema_of('schema = ""\n', tmp_path) is None
    assert schema_of("", tmp_path) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("5", "is no JSON Schema"),
        ('{"minLength": -1}', "is no valid JSON Schema: must be at least 0, at /minLength"),
        ('{"$ref": "http://127.0.0.1:1/x"}', "nothing is fetched"),
    ],
)
def test_a_file_that_will_not_do_is_refused_with_key_and_line(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    found = fault('schema = "a.json"\n', tmp_path)
    assert (found.key, found.line) == ("route[0].schema", 5)
    assert found.reason.startswith(str(tmp_path / "a.json"))
    assert reason in found.reason


def test_a_folder_is_no_schema(tmp_path):
    assert "cannot be read" in fault('schema = "."\n', tmp_path).reason


def test_in_code_a_schema_that_is_made_already_will_do():
    schema = BodySchema(True)
    assert Route(name="a", path="/a", queue="a", schema_=schema).schema_ is schema
