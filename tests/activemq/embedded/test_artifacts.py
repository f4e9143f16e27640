from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from activemq.embedded.artifacts import CLASSIC, Coordinate, distribution, load_lock, sha256, unsound
from activemq.errors import ArtifactError


def test_the_lock_names_exactly_the_pinned_jars():
    lock = load_lock(CLASSIC)
    assert list(lock) == sorted(coordinate.file_name for coordinate in CLASSIC.coordinates)
    assert len(lock) == 23
    for digest in lock.values():
        assert len(bytes.fromhex(digest)) == hashlib.sha256().digest_size


def test_a_version_without_a_lock_is_refused():
    with pytest.raises(ArtifactError, match=r"classic-0\.0\.sha256.*run scripts/lock-broker"):
        load_lock(replace(CLASSIC, version="0.0"))


def test_a_pinned_jar_that_the_lock_does_not_name_is_refused():
    more = (*CLASSIC.coordinates, Coordinate("org.example", "extra", "1"))
    with pytest.raises(ArtifactError, match="does not name the pinned jars"):
        load_lock(replace(CLASSIC, coordinates=more))


def test_a_locked_jar_that_is_no_longer_pinned_is_refused():
    with pytest.raises(ArtifactError, match="does not name the pinned jars"):
        load_lock(replace(CLASSIC, coordinates=CLASSIC.coordinates[1:]))


def test_a_kind_that_we_do_not_have_is_refused_with_those_that_we_have():
    assert distribution("classic") is CLASSIC
    assert distribution("artemis").kind == "artemis"
    with pytest.raises(ValueError, match="kind must be one of classic, artemis, not 'rabbitmq'"):
        distribution("rabbitmq")


def test_sha256_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "a.jar"
    path.write_bytes(b"abc")
    assert sha256(path) == hashlib.sha256(b"abc").hexdigest()


def test_unsound_names_what_is_missing_changed_empty_or_no_file(tmp_path):
    good = hashlib.sha256(b"good").hexdigest()
    names = ("good", "missing", "changed", "empty", "folder")
    for name, content in (("good", b"good"), ("changed", b"gooD"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    assert unsound(tmp_path, dict.fromkeys(names, good)) == ["missing", "changed", "empty", "folder"]
