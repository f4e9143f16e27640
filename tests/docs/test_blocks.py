"""Every block of code in README.md, CONTRIBUTING.md and docs/: run, or held to what is run, or it says why not.

What is run as its reader would is in ``test_sessions.py``. Here: that no block is forgotten, and each kind by its form.
``pytest tests/docs/test_blocks.py -rP -k not_run`` lists the blocks that are not run, with their reasons.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from typing import Any
from xml.etree import ElementTree as ET

import click
import pytest
import typer
import yaml
from mypy import api as mypy

from bridge.settings import SettingsError, parse
from bridge.settings.models import ARRAYS, TABLES
from mqbridge.cli import app
from tests.docs.console import steps
from tests.docs.pages import ROOT, Block, all_pages

PAGES = all_pages()
BLOCKS = [block for page in PAGES for block in page.blocks]
OURS = re.compile(r"(\w+=\S+ )*mqbridge [^…]*$", re.DOTALL)
# Text is for what is no code: drawings, what a program has printed.
LANGUAGES = {
    "console",
    "dockerfile",
    "http",
    "java",
    "json",
    "properties",
    "python",
    "sh",
    "text",
    "toml",
    "xml",
    "yaml",
}


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def each(language: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", of(language), ids=lambda block: block.where)


# -- none is forgotten


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_has_a_fence_and_a_language(page):
    assert page.unfenced == (), f"{page.name}: these lines begin a block by indenting; give it a fence and a language"
    assert [block.where for block in page.blocks if block.language not in LANGUAGES] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.elsewhere], ids=lambda page: page.name)
def test_a_test_that_has_the_blocks_of_a_page_is_there_and_names_the_page(page):
    for language, test in page.elsewhere.items():
        assert any(block.language == language for block in page.blocks), f"{page.name} has no {language} block"
        assert page.path.name in (ROOT / test).read_text("utf-8"), f"{test} does not read {page.name}"


def test_a_block_that_is_not_run_says_why_and_names_a_test_that_is_there(record_property):
    """Prints them all."""
    for block in BLOCKS:
        if block.not_run:
            print(f"{block.where}: {block.not_run}")
            assert len(block.not_run.split()) >= 4, f"{block.where}: say why, so that a reader can judge it"
            for test in re.findall(r"tests/[\w/.-]+", block.not_run):
                assert (ROOT / test).exists(), f"{block.where} names {test}, which is not there"


def test_blocks_that_are_written_to_files_are_used():
    """A title is a file of a page that is run; elsewhere nobody would look at it."""
    for page in PAGES:
        run = any(block.language in {"console", "python"} for block in page.runnable)
        assert run or not any(block.title for block in page.blocks), page.name


def test_an_extra_is_installed_from_a_checkout_as_the_package_is_on_no_index():
    """In pages, and in what programs say where one is missing."""
    texts = {page.path for page in PAGES}
    for folder in ("activemq", "bridge", "consumers", "mqbridge"):
        texts.update((ROOT / folder).rglob("*.py"))
    wrong = [str(path.relative_to(ROOT)) for path in texts if "activemq-rest-bridge[" in path.read_text("utf-8")]
    assert wrong == [], "write it pip install '.[EXTRA]'"


# -- by their form


def options_of(command: str) -> None:
    """Read a command line of ours as the command would, without running it. Raises ``click.ClickException``."""
    words = shlex.split(re.split(r" [|>&]|;", command, maxsplit=1)[0], comments=True)
    words = words[words.index("mqbridge") + 1 :]
    parser: Any = typer.main.get_command(app)
    while hasattr(parser, "commands") and words and not words[0].startswith("-"):
        if words[0] not in parser.commands:
            raise click.UsageError(f"there is no command {words[0]!r}")
        parser, words = parser.commands[words[0]], words[1:]
    known = {option for parameter in parser.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        option = word.partition("=")[0]
        if re.fullmatch(r"--?[a-z][a-z-]*", option) and option not in {*known, "--help", "-h"}:
            raise click.UsageError(f"{parser.name} has no option {option}")


@each("console")
def test_a_console_block_is_commands_of_bash_and_ours_have_their_options(block):
    found = steps(block.text)
    assert found, f"{block.where} has no '$ '"
    for step in found:
        checked = subprocess.run(["bash", "-n", "-c", step.command], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{block.where}: {checked.stderr}"
        if OURS.match(step.command):
            options_of(step.command)


def test_an_option_that_there_is_not_is_noticed():
    options_of("mqbridge dlq list --queue orders.poison | head")
    with pytest.raises(click.UsageError, match="no option --frobnicate"):
        options_of("mqbridge serve --frobnicate 1")
    with pytest.raises(click.UsageError, match="no command"):
        options_of("mqbridge frobnicate")


def bash(block, tmp_path):
    checked = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    for line in block.text.splitlines():
        if OURS.match(line):
            options_of(line)


# A fragment lacks what other tables would say, and its files are the reader's.
LACKING = re.compile(r"cannot be read|there is no|is missing|needs")


def faults_of(text, base):
    """What the bridge has against a file, besides what a fragment cannot help."""
    try:
        parse(text, base=base)
    except SettingsError as error:
        return [str(fault) for fault in error.faults if not LACKING.search(str(fault))]
    return []


def toml(block, tmp_path):
    """TOML; and where its tables are the bridge's, keys and values that the bridge takes."""
    if set(tomllib.loads(block.text)) <= {*TABLES, *ARRAYS}:
        assert faults_of(block.text, tmp_path) == []


def json_text(block, tmp_path):
    text = block.text.strip()
    json.loads(text if text.startswith(("{", "[")) else "{" + text + "}")


def yaml_text(block, tmp_path):
    assert list(yaml.safe_load_all(block.text))


def xml(block, tmp_path):
    ET.fromstring(f"<all>{block.text}</all>")


def http(block, tmp_path):
    first, *rest = block.text.splitlines()
    assert re.fullmatch(r"[A-Z]+ \S+ HTTP/[\d.]+|HTTP/[\d.]+ \d{3}.*", first), first
    for line in rest[: rest.index("")] if "" in rest else rest:
        assert re.fullmatch(r"[\w-]+: .*|…", line), line


def dockerfile(block, tmp_path):
    instruction = re.compile(
        r"(ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|RUN|STOPSIGNAL|USER|VOLUME|WORKDIR) "
    )
    assert all(instruction.match(line) for line in block.text.splitlines() if line.strip())


FORM_OF = {
    "dockerfile": dockerfile,
    "http": http,
    "json": json_text,
    "sh": bash,
    "toml": toml,
    "xml": xml,
    "yaml": yaml_text,
}


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language in FORM_OF],
    ids=lambda block: f"{block.language}-{block.where}",
)
def test_a_block_has_the_form_of_its_language(block, tmp_path):
    FORM_OF[block.language](block, tmp_path)


@each("java")
def test_a_java_block_is_an_examples_or_says_why_not(block):
    assert block.not_run or "java" in next(page for page in PAGES if page.path == block.page).elsewhere


# -- Python: it runs in a session or in a test of its own; its types are checked here


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.language == "python" for b in page.runnable)], ids=lambda page: page.name
)
def test_the_types_of_the_python_blocks_are_right(page, tmp_path):
    for block in page.runnable:
        if block.language == "python":
            (tmp_path / (block.title or f"line_{block.line}.py")).write_text(block.text, "utf-8")
    options = [
        "--config-file=",
        "--strict",
        "--ignore-missing-imports",
        "--allow-subclassing-any",
        "--no-error-summary",
        "--no-warn-unused-ignores",
    ]
    cache = f"--cache-dir={ROOT / '.mypy_cache' / 'docs'}"
    said, errors, _ = mypy.run([*options, "--allow-any-unimported", cache, str(tmp_path)])
    assert (said, errors) == ("", "")


def test_ctrl_c_and_gaps_are_understood():
    (first, second) = steps("$ a \\\n  b\nx\n^C\n$ c\n")
    assert (first.command, first.expected, first.ends) == ("a \\\n  b", ("x", "^C"), True)
    assert (second.command, second.ends) == ("c", False)
    with pytest.raises(ValueError, match="nothing has printed"):
        steps("output\n")
