from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from activemq.embedded import folder as folder_module
from activemq.embedded.folder import DataFolder
from activemq.errors import BrokerStartError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_files() -> list[str]:
    """What our descriptors are open on, the one that reads this apart."""
    links = [str(one.readlink()) for one in Path("/dev/fd").iterdir() if one.is_symlink()]
    return sorted(link for link in links if not link.startswith("/proc/"))


async def test_a_named_folder_is_made_for_its_owner_only(tmp_path):
    folder = DataFolder(tmp_path / "a" / "b")
    os.close(await folder.lock())
    assert mode(folder.path) == 0o700


async def test_a_folder_is_held_until_the_last_copy_of_the_lock_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "_LOCK_PATIENCE", 0.0)
    first = await DataFolder(tmp_path).lock()
    copy = os.dup(first)
    os.close(first)
    with pytest.raises(BrokerStartError, match=f"another broker is using the data folder {tmp_path}"):
        await DataFolder(tmp_path).lock()
    os.close(copy)
    os.close(await DataFolder(tmp_path).lock())


async def test_a_holder_that_leaves_soon_is_waited_for(tmp_path, monkeypatch):
    tried = asyncio.Event()
    really_try = folder_module._try_lock

    def try_lock(descriptor: int) -> bool:
        tried.set()
        return really_try(descriptor)

    first = await DataFolder(tmp_path).lock()
    monkeypatch.setattr(folder_module, "_try_lock", try_lock)
    waiting = asyncio.create_task(DataFolder(tmp_path).lock())
    await tried.wait()
    assert not waiting.done()
    os.close(first)
    os.close(await waiting)


async def test_cancelling_a_wait_for_the_lock_leaves_no_descriptor_open(tmp_path):
    first = await DataFolder(tmp_path).lock()
    before = open_files()
    waiting = asyncio.create_task(DataFolder(tmp_path).lock())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert open_files() == before
    os.close(first)


async def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BrokerStartError, match="file/data cannot be used: Not a directory"):
        await DataFolder(tmp_path / "file" / "data").lock()


def test_the_configuration_is_for_its_owner_only_whatever_was_there(tmp_path):
    folder = DataFolder(tmp_path)
    path = tmp_path / "activemq.xml"
    path.write_text("old")
    path.chmod(0o666)
    folder.write_configuration({"activemq.xml": "new"})
    assert (path.read_text(), mode(path)) == ("new", 0o600)


def test_a_configuration_that_is_a_link_does_not_write_elsewhere(tmp_path):
    target = tmp_path / "elsewhere"
    target.write_text("kept")
    (tmp_path / "activemq.xml").symlink_to(target)
    DataFolder(tmp_path).write_configuration({"activemq.xml": "new"})
    assert target.read_text() == "kept"


def test_the_log_of_the_run_before_is_kept(tmp_path):
    folder = DataFolder(tmp_path)
    for said in (b"first", b"second", b"third"):
        descriptor = folder.new_log()
        os.write(descriptor, said)
        os.close(descriptor)
    assert folder.log.read_text() == "third"
    assert (tmp_path / "broker.log.1").read_text() == "second"
    assert mode(folder.log) == 0o600


def test_a_temporary_folder_goes_when_it_is_removed():
    folder = DataFolder(None)
    assert mode(folder.path) == 0o700
    folder.remove()
    assert not folder.path.exists()


def test_a_temporary_folder_goes_with_its_object():
    folder = DataFolder(None)
    path = folder.path
    del folder
    assert not path.exists()


def test_a_named_folder_stays(tmp_path):
    folder = DataFolder(tmp_path)
    folder.remove()
    del folder
    assert tmp_path.exists()
