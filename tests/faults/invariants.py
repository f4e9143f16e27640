"""The checker: what must hold of every run, whatever happened in it. Pure functions over a :class:`History`.

Each takes the history and returns its violations, each with the nonce of the call and the lines that show it. All are
linear in the number of records. The numbers are those of docs/reliability.md.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter as Count
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.faults.history import (
    CLOSED,
    LEFT,
    NONE,
    OPEN,
    SECOND,
    Acked,
    Begun,
    Call,
    Counter,
    Delivered,
    Drained,
    Epoch,
    Extra,
    Fault,
    History,
    Leak,
    Left,
    Life,
    Published,
    Receipt,
    Record,
    Result,
    Sent,
    Spoilt,
    Told,
    line_of,
)

# How far a worker's idea of the broker's time may be off: it is measured by an echo, over whatever a fault has made of
# the network. Clocks that are an hour apart are found by it all the same.
CLOCK_ERROR = SECOND // 2
# A fault is felt after its end: by a worker that reads on what came before its connection was given up, and for longer
# by bridges, which send again what the broker that was away has not confirmed.
FELT_BY_WORKER = 5 * SECOND
FELT_BY_OTHERS = 45 * SECOND
# A bridge's time of a call counts from its head, which it reads a little after the caller has written it; in whole
# milliseconds the one may seem to be before the other.
ROUNDING = SECOND // 1_000


@dataclass(frozen=True)
class Violation:
    """``nonce``: of the call, or a dash where it is nobody's."""

    invariant: int
    nonce: str
    what: str
    lines: tuple[str, ...]
    other: str = NONE  # the call that it was mixed up with

    def __str__(self) -> str:
        return "\n    ".join([f"invariant {self.invariant}, call {self.nonce}: {self.what}", *self.lines])


def _violation(invariant: int, nonce: str, what: str, *records: Record, other: str = NONE) -> Violation:
    return Violation(invariant, nonce, what, tuple(map(line_of, records)), other)


def one_answer(history: History) -> Iterator[Violation]:
    """1. Each request gets exactly one response or one close."""
    for nonce, calls in history.by_nonce(Call).items():
        if len(calls) > 1:
            yield _violation(1, nonce, f"{len(calls)} ends", *calls)
        elif calls[0].status == OPEN:
            yield _violation(1, nonce, "neither an answer nor a close", *calls)
    for extra in history.of(Extra):
        yield _violation(1, extra.nonce, "bytes after its answer", extra)


def own_answer(history: History) -> Iterator[Violation]:
    """2. A worker's response, and a job's result, carry that request's nonce."""
    for call in history.of(Call):
        if 200 <= call.status < 300 and call.status != 202 and call.echoed != call.nonce:
            yield _violation(2, call.nonce, f"has the answer to {call.echoed}", call, other=call.echoed)
    for result in history.of(Result):
        if result.state == "done" and result.echoed != result.nonce:
            yield _violation(2, result.nonce, f"has the result of {result.echoed}", result, other=result.echoed)


def not_anothers(history: History) -> Iterator[Violation]:
    """2, where bytes were changed on the wire: a response may be spoilt, and is nobody else's."""
    known = {call.nonce for call in history.of(Call)}
    for violation in own_answer(history):
        if violation.nonce != violation.other and violation.other in known:
            yield violation


def no_job_lost(history: History) -> Iterator[Violation]:
    """3. An accepted job ran at least once, or is parked, or expired; and it has a final state."""
    ran, results = history.by_nonce(Begun), history.by_nonce(Result)
    for call in history.of(Call):
        if call.status != 202:
            continue
        ends = results.get(call.nonce, [])
        if not ends:
            yield _violation(3, call.nonce, "accepted, and nobody knows what became of it", call)
        elif len(ends) > 1:
            yield _violation(3, call.nonce, f"{len(ends)} results", call, *ends)
        elif ends[0].state not in ("done", "failed", "expired", "cancelled"):
            yield _violation(3, call.nonce, f"still {ends[0].state}", call, *ends)
        elif call.nonce not in ran and not (ends[0].state == "expired" or ends[0].problem == "poisoned"):
            yield _violation(3, call.nonce, "never ran", call, *ends)


def twice_only_for_a_fault(history: History) -> Iterator[Violation]:
    """4. It ran again only if a fault hit its broker, or a bridge or worker that had had it, since it was there.

    A worker that had it need not have run it first: one that is killed between a copy and its ACK leaves two messages,
    where the broker has no transaction for both. A job can be of two bridges: another sends what the first could not.
    """
    faults = _Faults(history.of(Fault))
    published, delivered = history.by_nonce(Published), history.by_nonce(Delivered)
    for nonce, runs in history.by_nonce(Begun).items():
        runs.sort(key=lambda run: run.at)
        for first, second in pairwise(runs):
            had = [one for one in (*published[nonce], *delivered[nonce]) if one.at < second.at]
            whom = {"broker", first.worker, *(one.link for one in had)}
            since = min([first.at, *(one.at for one in had)])
            if not faults.hit(whom, since, second.at):
                yield _violation(4, nonce, "ran again without a reason", first, second)


class _Faults:
    """Faults by whom they hit, in the order of their beginning, each with the latest end until then."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._begun: dict[str, list[int]] = defaultdict(list)
        self._ended: dict[str, list[int]] = defaultdict(list)
        for fault in sorted(faults):
            felt = FELT_BY_WORKER if fault.target.startswith("worker") else FELT_BY_OTHERS
            ended = self._ended[fault.target]
            self._begun[fault.target].append(fault.begun)
            ended.append(max(fault.ended + felt, ended[-1] if ended else 0))

    def hit(self, targets: Iterable[str], begin: int, end: int) -> bool:
        """Whether one of them was hit, or could still feel it, at a time between the two."""
        for target in targets:
            before = bisect_right(self._begun[target], end)
            if before and self._ended[target][before - 1] >= begin:
                return True
        return False


def reply_before_ack(history: History) -> Iterator[Violation]:
    """5. No ACK before its reply's receipt. Without a reply: only if the call was over, or another took its place."""
    spoilt = {record.connection: record.at for record in history.of(Spoilt)}
    receipts = {(record.connection, record.receipt): record for record in history.of(Receipt)}
    told: dict[tuple[str, str], int] = {}
    for record in history.of(Told):
        told.setdefault((record.link, record.correlation_id), record.at)
    sends: dict[tuple[int, str], list[Sent]] = defaultdict(list)
    for sent in history.of(Sent):
        sends[sent.connection, sent.correlation_id].append(sent)
    acks = {(record.seat, record.ack): record for record in history.of(Acked)}
    offset = _offset(history)
    for delivered in history.of(Delivered):
        ack = acks.get((delivered.seat, delivered.ack))
        if ack is None or ack.at >= spoilt.get(ack.connection, ack.at + 1):
            continue
        said = [one for one in sends[ack.connection, delivered.correlation_id] if one.kind != "notice"]
        said = [one for one in said if one.at >= delivered.at]
        if not said:
            over = told.get((delivered.link, delivered.correlation_id), ack.at + 1) <= ack.at
            late = delivered.deadline and ack.at + offset + CLOCK_ERROR >= delivered.deadline * 1_000
            if not over and not late:
                yield _violation(5, delivered.nonce, "acknowledged without a reply", delivered, ack)
        elif not any(_covers(one, ack, receipts.get((one.connection, one.receipt))) for one in said):
            known = [receipts[one.connection, one.receipt] for one in said if (one.connection, one.receipt) in receipts]
            yield _violation(5, delivered.nonce, "acknowledged before its reply was", delivered, *said, ack, *known)


def _covers(sent: Sent, ack: Acked, receipt: Receipt | None) -> bool:
    """Whether the ACK was right after this SEND: its receipt had come, or they are in one transaction."""
    if sent.transaction != NONE and sent.transaction == ack.transaction:
        return True
    return receipt is not None and sent.at <= receipt.at <= ack.at


def deadlines_hold(history: History) -> Iterator[Violation]:
    """6. A deadline's 504 comes at or after the deadline, and nothing begins after it."""
    for call in history.of(Call):
        if call.problem == "deadline" and call.ended - call.sent + ROUNDING < call.timeout:
            yield _violation(6, call.nonce, "its time was not over", call)
    offset = _offset(history)
    for begun in history.of(Begun):
        if begun.deadline and begun.at + offset - CLOCK_ERROR > begun.deadline * 1_000:
            yield _violation(6, begun.nonce, "began after its deadline", begun)


def one_unacknowledged(history: History) -> Iterator[Violation]:
    """7. No slot of a worker has two messages that it has not acknowledged."""
    spoilt = {record.connection: record.at for record in history.of(Spoilt)}
    last: dict[str, Delivered] = {}
    for record in sorted([*history.of(Delivered), *history.of(Acked)], key=_order):
        if record.at >= spoilt.get(record.connection, record.at + 1):
            continue
        if isinstance(record, Acked):
            if record.seat in last and last[record.seat].ack == record.ack:
                del last[record.seat]
        else:
            if record.seat in last:
                yield _violation(7, record.nonce, "came to a slot that had another", last[record.seat], record)
            last[record.seat] = record


def _order(record: Delivered | Acked) -> tuple[int, bool]:
    return record.at, isinstance(record, Delivered)


def nothing_left(history: History) -> Iterator[Violation]:
    """8. After quiet: nothing pending, no message in a queue, no task; parked is what was poison, and no more."""
    for left in history.of(Left):
        if left.number > left.allowed:
            what = f"{left.number} {left.what} at {left.who}, where {left.allowed} may be"
            yield _violation(8, NONE, what, left)


def nothing_after_drain(history: History) -> Iterator[Violation]:
    """9. Once a bridge has refused a call as draining, it takes no other that is sent later."""
    lives, published = _by_bridge(history.of(Life)), history.by_nonce(Published)
    drained = _by_bridge(history.of(Drained))
    first: dict[tuple[str, int], Call] = {}
    for call in history.of(Call):
        if call.problem == "draining":
            life = call.bridge, bisect_left(lives[call.bridge], call.sent)
            if life not in first or first[life].ended > call.ended:
                first[life] = call
    for call in history.of(Call):
        refused = first.get((call.bridge, bisect_left(lives[call.bridge], call.sent)))
        if refused is None or call.sent <= refused.ended:
            continue
        sent = [one for one in published.get(call.nonce, []) if one.link == call.bridge]
        # Who is asked who he is, is asked before (docs/http.md, the order of checks).
        if sent or not (call.problem in ("draining", "unauthenticated") or call.status in (CLOSED, LEFT)):
            yield _violation(9, call.nonce, "taken by a bridge that was draining", refused, call, *sent)
    for refused in first.values():
        if not any(at <= refused.ended for at in drained[refused.bridge]):
            yield _violation(9, refused.nonce, "refused as draining by a bridge that was not told to", refused)


def _by_bridge(records: Iterable[Life] | Iterable[Drained]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for record in records:
        found[record.bridge].append(record.at)
    for times in found.values():
        times.sort()
    return found


def nothing_for_strangers(history: History) -> Iterator[Violation]:
    """10. A call without a right to it costs the broker no frame, and does not run."""
    published, ran = history.by_nonce(Published), history.by_nonce(Begun)
    for call in history.of(Call):
        if call.kind != "unauthorised":
            continue
        came = [*published.get(call.nonce, []), *ran.get(call.nonce, [])]
        if came:
            yield _violation(10, call.nonce, "unauthorised, and it reached the broker", call, *came)
        elif call.status not in (401, CLOSED, LEFT, OPEN) and not _is_bare(call):
            yield _violation(10, call.nonce, f"unauthorised, and answered with {call.status}", call)


def _is_bare(call: Call) -> bool:
    """Whether it is the HTTP server's own 400: such a request never came to the bridge. So it does without memory."""
    return call.status == 400 and call.problem == NONE


def no_secret_told(history: History) -> Iterator[Violation]:
    """11. No secret is in any byte of a log."""
    for leak in history.of(Leak):
        yield _violation(11, NONE, f"the {leak.secret} is in {leak.file}", leak)


def counters_agree(history: History) -> Iterator[Violation]:
    """12. What a bridge counts is what its callers saw. Of calls that they did not see end it may have one or none."""
    told: dict[tuple[str, int], dict[str, Counter]] = defaultdict(dict)
    for counter in history.of(Counter):
        told[counter.bridge, counter.since][counter.outcome] = counter
    seen: dict[tuple[str, int], Count[str]] = defaultdict(Count)
    unseen: Count[tuple[str, int]] = Count()
    lives = dict(told.keys())
    for call in (call for call in history.of(Call) if not _is_bare(call)):
        life = call.bridge, lives.get(call.bridge, 0)
        if life not in told or call.sent < life[1]:
            continue
        if call.status in (CLOSED, LEFT, OPEN):
            unseen[life] += 1
        else:
            seen[life][call.problem if call.problem != NONE else f"{call.status // 100}xx"] += 1
    for started in {one.bridge: one for one in sorted(history.of(Life))}.values():
        if (started.bridge, started.at) not in told:
            yield _violation(12, NONE, f"{started.bridge} has told nothing of what it counts", started)
    for life, counters in told.items():
        for outcome in sorted({*counters, *seen[life]} - {"caller-gone"}):
            counter = counters.get(outcome, Counter(*life, outcome, 0))
            over = counter.number - seen[life][outcome]
            if not 0 <= over <= unseen[life]:
                what = f"{life[0]} counts {counter.number} × {outcome}, its callers {seen[life][outcome]}"
                yield _violation(12, NONE, what, counter)


def _offset(history: History) -> int:
    epochs = history.of(Epoch)
    return epochs[0].offset if epochs else 0


Invariant = Callable[[History], Iterator[Violation]]
INVARIANTS: tuple[Invariant, ...] = (
    one_answer,
    own_answer,
    no_job_lost,
    twice_only_for_a_fault,
    reply_before_ack,
    deadlines_hold,
    one_unacknowledged,
    nothing_left,
    nothing_after_drain,
    nothing_for_strangers,
    no_secret_told,
    counters_agree,
)


def check(history: History, judged: Sequence[Invariant] = INVARIANTS) -> list[Violation]:
    """All that is wrong with a run; empty if it is as it should be."""
    return [violation for invariant in judged for violation in invariant(history)]
