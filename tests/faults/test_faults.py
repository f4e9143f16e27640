"""The fault suite itself: every scenario, in the form that ``--faults`` names. See docs/reliability.md."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.run import keep, run, told
from tests.faults.scenarios import BY_NAME, SCENARIOS

WHY = {
    "broker-memory-full": "Artemis pages to disk, RabbitMQ stops reading",
    "broker-disk-full": "Artemis pages to disk, RabbitMQ stops reading",
    "clocks": "RabbitMQ does not tell its time",
}


@pytest.mark.slow
@pytest.mark.every_broker
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS])
async def test_nothing_is_lost_doubled_or_mixed_up(name, broker_kind, own_broker, tmp_path, request):
    scenario = BY_NAME[name]
    if scenario.missing:
        what = (
            f"{scenario.missing} is not installed: apt-get install {scenario.missing}, or scripts/test as root does it"
        )
        if os.environ.get("CI"):
            raise RuntimeError(what)
        pytest.skip(what)
    if broker_kind in scenario.not_on:
        pytest.skip(f"{broker_kind} does otherwise there: {WHY[name]}")
    long = request.config.getoption("--faults") == "long"
    options = {} if broker_kind == "rabbitmq" else {"quick": not long}
    if scenario.limits is not None:
        options["limits"] = scenario.limits
    broker = await own_broker(**options)
    figures, violations = await run(scenario, tmp_path, broker, long=long)
    results = request.config.getoption("--faults-results")
    if results:
        keep(figures, Path(results))
    assert not violations, told(violations)
