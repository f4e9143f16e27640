"""The pages that are made from the code have all of it, and as it is."""

from __future__ import annotations

import re
import tomllib

import griffe
import pytest
from markdown import Markdown

import activemq
import activemq.embedded
import activemq.testing
import bridge.client
import consumers
from bridge.problems import TABLE
from bridge.settings import parse
from bridge.settings.models import ARRAYS, TABLES, keys_of
from manual import PAGES, commands, metrics, problems, settings
from manual.docstrings import MarkdownDocstrings
from tests.docs.pages import DOCS

MINIMAL = '[[route]]\nname = "orders"\npath = "/orders"\nqueue = "orders"\n'


def file_with_every_default():
    return re.search(r"```toml\n(.*?)```", settings.render(), re.DOTALL)[1]


def test_the_file_with_every_default_is_the_one_with_none(tmp_path):
    assert parse(file_with_every_default(), base=tmp_path) == parse(MINIMAL, base=tmp_path)


def test_the_file_with_every_default_has_every_key_that_has_one():
    said = tomllib.loads(file_with_every_default())
    for name, model in {**TABLES, "route": ARRAYS["route"]}.items():
        if name in said:
            there = said[name][0] if name in ARRAYS else said[name]
            assert set(keys_of(model)) - set(there) <= {"passcode"}
    assert set(TABLES) - set(said) == {"jwt"}  # has no default at all


@pytest.mark.parametrize(("name", "model"), {**TABLES, **ARRAYS}.items())
def test_every_key_has_a_row(name, model):
    head = f"[[{name}]]" if name in ARRAYS else f"[{name}]"
    section = settings.render().partition(f"## `{head}`\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == list(keys_of(model))


def test_no_kind_of_value_is_told_by_its_python_name():
    assert re.findall(r"\| (Optional|Annotated|Literal|tuple|str|int|float) ", settings.render()) == []


def test_every_problem_has_a_section():
    assert set(re.findall(r"^## (.*)$", problems.render(), re.MULTILINE)) == set(TABLE)


def test_every_metric_of_the_other_page_is_here_with_its_labels():
    """docs/metrics.md is held to what a bridge that runs exposes."""
    rows = re.compile(r"^\| `(mqbridge_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
    here = {name: (kind, labels.strip()) for name, kind, labels in rows.findall(metrics.render())}
    there = rows.findall((DOCS / "metrics.md").read_text("utf-8"))
    assert here == {name: (kind, labels.strip()) for name, kind, labels in there}


def test_every_command_has_a_section():
    text = commands.render()
    for command in ("serve", "work", "dlq replay", "key new"):
        assert f"`mqbridge {command}`" in text


@pytest.mark.parametrize("module", [consumers, bridge.client, activemq.embedded, activemq.testing])
def test_every_public_name_is_in_the_python_reference(module):
    page = (DOCS / "reference" / "python.md").read_text("utf-8")
    functions = {"default_cache_dir"}  # of no use but to who keeps caches
    assert {name for name in module.__all__ if f"::: {module.__name__}.{name}\n" not in page} <= functions


def test_every_name_in_the_python_reference_can_be_imported():
    page = (DOCS / "reference" / "python.md").read_text("utf-8")
    for path in re.findall(r"^::: (\S+)$", page, re.MULTILINE):
        module, _, name = path.rpartition(".")
        assert hasattr(__import__(module, fromlist=[name]), name), path


def test_each_page_that_can_be_made_is_on_the_site_once():
    marks = [
        mark
        for page in DOCS.rglob("*.md")
        for mark in re.findall(r"<!-- generated: (\w+) -->", page.read_text("utf-8"))
    ]
    assert sorted(marks) == sorted(PAGES)


def test_a_mark_is_replaced_and_an_unknown_one_ends_the_build():
    reader = Markdown(extensions=["manual.extension", "tables"])
    assert "mqbridge_calls_total" in reader.convert("# A\n\n<!-- generated: metrics -->\n")
    with pytest.raises(KeyError, match="nonsense"):
        reader.convert("<!-- generated: nonsense -->")


@pytest.mark.parametrize(
    ("repository", "expected"),
    [("", '<a title="tests/x.py">t</a>'), ("https://h/r", '<a href="https://h/r/blob/main/tests/x.py">t</a>')],
)
def test_links_out_of_the_pages_lead_to_the_repository_if_it_is_known(repository, expected):
    reader = Markdown(
        extensions=["manual.extension"], extension_configs={"manual.extension": {"repository": repository}}
    )
    assert expected in reader.convert("[t](../tests/x.py)")
    assert 'href="http.md#a"' in reader.convert("[t](http.md#a)")


def test_references_of_docstrings_become_code():
    source = '"""See :class:`activemq.Client` and :func:`~a.b`.\n\n::\n\n    code\n"""'
    with griffe.temporary_visited_module(source) as module:
        MarkdownDocstrings().on_object(obj=module)
        assert module.docstring.value == "See `activemq.Client` and `a.b`.\n\n\n    code"
