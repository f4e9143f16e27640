"""docs/java.md: its Java is what the examples have, word for word, and the examples are what the tests build."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "java.md"
SNIPPETS = re.findall(r"<!-- (\S+)(?: (\w+))? -->\n```\w+\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def region(path: Path, name: str | None) -> str:
    """What is between the comments `begin` and `end` of that name; without a name the whole file."""
    text = path.read_text("utf-8")
    if name is None:
        return text
    found = re.findall(rf"^ *// begin {name}\n(.*?)^ *// end {name}\n", text, re.DOTALL | re.MULTILINE)
    assert len(found) == 1, f"{path.name} has {len(found)} regions {name}"
    return textwrap.dedent(found[0])


@pytest.mark.parametrize(("path", "name", "text"), SNIPPETS, ids=[f"{Path(s[0]).stem}-{s[1]}" for s in SNIPPETS])
def test_a_snippet_is_what_the_example_has(path, name, text):
    assert text == region(ROOT / path, name or None)


def test_all_java_of_the_page_is_held_to_an_example():
    page = PAGE.read_text("utf-8")
    assert len(SNIPPETS) == page.count("```java") + page.count("```properties")


@pytest.mark.parametrize("block", re.findall(r"```xml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
def test_a_dependency_of_the_page_is_one_of_the_examples(block):
    pom = (ROOT / "examples" / "java" / "plain-jms" / "pom.xml").read_text("utf-8")
    assert textwrap.indent(block, "    ") in pom


def test_versions_that_are_named_are_those_of_the_examples():
    page = PAGE.read_text("utf-8")
    poms = {path.parent.name: path.read_text("utf-8") for path in (ROOT / "examples" / "java").glob("*/pom.xml")}
    assert "Spring Boot 3.5 " in page
    assert "<version>3.5." in poms["spring-boot"]
    assert "<activemq.version>6.3.1</activemq.version>" in page
    assert "<activemq.version>6.3.1</activemq.version>" in poms["spring-boot"]
    assert "`camel-jms` 4.18 " in page
    assert poms["camel"].count("<version>4.18.") == 2


def test_the_examples_that_need_it_have_the_same_way_to_the_broker():
    plain, requester = (
        ROOT / "examples" / "java" / name / "src/main/java/example/Broker.java" for name in ("plain-jms", "requester")
    )
    assert plain.read_text("utf-8") == requester.read_text("utf-8")
