"""The faults as scenarios: what is called meanwhile, what is done, how often, and what is judged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from activemq.embedded.configuration import MIB, BrokerLimits
from tests.faults import injections as faults
from tests.faults import invariants
from tests.faults.invariants import Invariant
from tests.faults.world import World

Do = Callable[[World, int], Awaitable[None]]

# With bytes changed on the wire (there is no checksum above TCP's; TLS is one) a body, a destination or a deadline can
# be another: what can be asked is that nobody gets somebody else's answer, and that all is well after it.
OF_CORRUPTION = (
    invariants.one_answer,
    invariants.not_anothers,
    invariants.nothing_after_drain,
    invariants.nothing_for_strangers,
    invariants.no_secret_told,
)


@dataclass(frozen=True)
class Scenario:
    """``short`` and ``long``: how often it is done, in each form.

    ``limits``: of its broker; ``environ``: of a bridge or a worker, by its name; ``not_on``: kinds of brokers that do
    something else there; ``workers``, ``slots``, ``attempts``, ``hung_after``: see :class:`tests.faults.world.World`.
    """

    name: str
    do: Do
    short: int
    long: int
    plan: Mapping[str, int] = field(default_factory=dict)
    judged: tuple[Invariant, ...] = invariants.INVARIANTS
    limits: BrokerLimits | None = None
    environ: Mapping[str, dict[str, str]] = field(default_factory=dict)
    not_on: tuple[str, ...] = ()
    missing: str = ""  # what has to be installed first, if it is not
    workers: int = 4
    slots: int = 8
    attempts: int = 50
    hung_after: int = 30


SCENARIOS = (
    Scenario("kill-worker", faults.kill_workers, 15, 500),
    Scenario("kill-after-reply", faults.kill_after_reply, 10, 200),
    Scenario("stop-worker", faults.stop_workers, 1, 3),
    Scenario("hang", faults.hang, 20, 500, {"hang": 10}),
    Scenario("hang-for-good", faults.hang_for_good, 2, 20, hung_after=2),
    # One slot each, so that nothing dies beside it.
    Scenario("poison", faults.poison, 3, 25, workers=8, slots=1, attempts=3),
    Scenario("no-consumers", faults.no_workers, 1, 5),
    Scenario("kill-broker", faults.kill_broker, 2, 50),
    Scenario("stop-broker", faults.stop_broker, 1, 1),
    Scenario("broker-memory-full", faults.fill_broker, 1, 3, {"size": 65_536, "connections": 400, "job": 0, "keyed": 0},
             limits=BrokerLimits(memory=8 * MIB, temp=8 * MIB), not_on=("artemis", "rabbitmq")),
    Scenario("broker-disk-full", faults.fill_broker, 1, 3, {"size": 65_536, "connections": 400, "persistent": 900},
             limits=BrokerLimits(store=48 * MIB), not_on=("artemis", "rabbitmq")),
    Scenario("partitions", faults.partitions, 1, 6),
    Scenario("slow-network", faults.slow_network, 1, 4),
    Scenario("cut-frames", faults.cut_frames, 5, 2_000),
    Scenario("corruption", faults.corrupt, 2, 10, {"job": 0, "keyed": 0}, judged=OF_CORRUPTION),
    Scenario("kill-gateway", faults.kill_bridges, 2, 20),
    Scenario(
        "drain-gateway", faults.drain_bridges, 1, 6,
        {"connections": 2_200, "slow": 1_000, "slow_ms": 20, "job": 0},
    ),
    Scenario("storm", faults.storm, 1, 3),
    Scenario("descriptors", faults.descriptors, 1, 6),
    Scenario("memory", faults.memory, 1, 6, {"size": 65_536}),
    Scenario("clocks", faults.clocks, 1, 5, environ={"bridge-1": faults.clock("+1h"), "worker-1": faults.clock("-1h"),
                                              "worker-2": faults.clock("+1h"), "bridge-2": faults.settable(),
                                              "worker-3": faults.settable()},
             missing="" if faults.FAKETIME else "faketime", not_on=("rabbitmq",)),
    Scenario("strangers", faults.strangers, 200, 20_000),
)  # fmt: skip
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
