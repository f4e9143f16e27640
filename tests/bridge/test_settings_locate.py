"""The lines that faults point at."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.settings.locate import locate


def test_keys_tables_and_elements_have_the_line_they_begin_on():
    text = (
        "# a comment with [brackets] and key = 1\n"
        "top = 1\n"
        "\n"
        "[server]  # comment\n"
        "bind = [  # [not a table]\n"
        '  "a", # "x",\n'
        '  "b",\n'
        "]\n"
        'drain = "35s"\n'
        "[[route]]\n"
        'name = "one"\n'
        "[[route]]\n"
        'path = "/x"\n'
    )
    assert locate(text) == {
        ("top",): 2,
        ("server",): 4,
        ("server", "bind"): 5,
        ("server", "bind", 0): 6,
        ("server", "bind", 1): 7,
        ("server", "drain"): 9,
        ("route",): 10,
        ("route", 0): 10,
        ("route", 0, "name"): 11,
        ("route", 1): 12,
        ("route", 1, "path"): 13,
    }


@pytest.mark.parametrize(
    "value",
    [
        '"one line"',
        "'literal with # and = and ]'",
        '"escaped \\" quote # ]"',
        '"""two\nlines # = ["""',
        '"""quotes "" inside and at its end"""""',
        '"""\\\n  an escaped break \\""" still inside\n"""',
        "'''two\nlines''' ",
        "'''ends in quotes'''''",
        '""',
        '""""""',
        "''''''",
        "1979-05-27 07:32:00 # comment",
        "-1_000.5e+3",
        "[]",
        "[ [1, 2],\n [ ], {a = 1, b = [ 3 ]}, ]",
        '{ x = {}, "y z".w = "}" }',
        "true",
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_key_after_any_value_is_found(value, newline):
    text = f"first = {value}\nsecond = 2\n".replace("\n", newline)
    assert tomllib.loads(text)["second"] == 2
    assert locate(text)[("second",)] == text.count("\n", 0, text.index("second")) + 1


def test_dotted_quoted_and_inline_keys_are_found_by_their_meaning():
    text = (
        "a . \"b.c\" . 'd' = 1\n"
        '"\\u0061b" = 2\n'
        "[[r]]\n"
        "[[r]]\n"
        "[r.inner]\n"
        "x = { y = 1, z.w = 2 }\n"
        "[[r.list]]\n"
        "k = 1\n"
        '[ "t" . u ]\n'
    )
    lines = locate(text)
    assert lines[("a", "b.c", "d")] == 1
    assert lines[("ab",)] == 2
    assert lines[("r", 1, "inner", "x", "y")] == 6
    assert lines[("r", 1, "inner", "x", "z", "w")] == 6
    assert lines[("r", 1, "list", 0, "k")] == 8
    assert lines[("t", "u")] == 9


def test_a_document_may_end_without_a_line_break():
    assert locate("a = 1")[("a",)] == 1
    assert locate("") == {}
    assert locate("# only a comment") == {}


KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).map(
    lambda text: f'"{_escaped(text)}"'
) | st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
SCALARS = (
    st.integers(min_value=-9, max_value=9).map(str)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(lambda text: f'"{_escaped(text)}"')
    | st.text(alphabet='ab#=[]{}," \n', max_size=8).map(lambda text: f"'''\n{text}'''")
    | st.text(alphabet="ab#=[]{},' \n", max_size=8).map(lambda text: f'"""{text}"""')
    | st.sampled_from(["true", "1e3", "inf", "2026-11-22T05:00:00Z", "'a # b'"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3).map(lambda items: "[ # [\n" + ",\n".join(items) + "\n]"),
    max_leaves=6,
)
BLANKS = st.sampled_from(["", "\n", "# x = 1\n", "  \t\n", "# [t]\n\n"])
LINES = st.lists(st.tuples(BLANKS, KEYS, VALUES, st.sampled_from(["pair", "table", "array"])), max_size=8)


def _escaped(text: str) -> str:
    return "".join(char if char.isalnum() and char.isascii() else f"\\U{ord(char):08x}" for char in text)


def _paths(value, path=()):
    """Every path in a document, as tomllib reads it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _paths(inner, (*path, key))


@settings(deadline=None)  # the machine may be busy
@given(LINES)
def test_each_key_that_tomllib_reads_has_a_line_and_nothing_else_has(entries):
    text = ""
    starts = []
    for blank, key, value, kind in entries:
        text += blank
        starts.append(text.count("\n") + 1)
        text += {"pair": f"{key} = {value}\n", "table": f"[{key}]\n", "array": f"[[{key}]]\n"}[kind]
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # a key twice
    lines = locate(text)
    assert set(lines) == set(_paths(document))
    last = text.count("\n") + 1
    assert all(1 <= line <= last for line in lines.values())
    assert all(line in starts for path, line in lines.items() if isinstance(path[-1], str))
