"""The whole of it finds a defect: real processes, of which one does what it must not."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.history import History
from tests.faults.invariants import check
from tests.faults.quiet import settle
from tests.faults.run import told
from tests.faults.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


async def violations_of(broker, folder, *, worker="tests.faults.handlers:worker", twice=0):
    """What is found after a moment's calls."""
    async with World(folder, broker, workers=2, worker=worker, fronts=True) as world:
        await world.call(leave=0, keyed=0)
        await world.well_again(300)
        if twice:
            names = [f"front-{name}" for name in world.bridges]
            await world.ask(world.wire, "trouble", names=names, way="down", twice=twice)
            await asyncio.sleep(1.0)
            await world.ask(world.wire, "trouble", names=names)
        await settle(world)
    return check(History.read(folder))


async def test_without_a_defect_nothing_is_found(own_broker, tmp_path):
    violations = await violations_of(await own_broker(), tmp_path)
    assert not violations, told(violations)


@pytest.mark.parametrize(
    ("defect", "invariant", "said"),
    [("ack_first", 5, "acknowledged before its reply was"), ("swap", 2, "has the answer to n-")],
)
async def test_the_defect_of_a_worker_is_found(own_broker, tmp_path, defect, invariant, said):
    violations = await violations_of(await own_broker(), tmp_path, worker=f"tests.faults.defective:{defect}")
    found = [violation for violation in violations if violation.invariant == invariant]
    assert len(found) > 10
    assert said in found[0].what
    assert found[0].nonce.startswith("n-")
    assert {violation.invariant for violation in violations} == {invariant}


async def test_a_doubled_answer_is_found(own_broker, tmp_path):
    violations = await violations_of(await own_broker(), tmp_path, twice=100_000)
    found = [violation for violation in violations if violation.invariant == 1]
    assert found
    assert "bytes after its answer" in found[0].what
