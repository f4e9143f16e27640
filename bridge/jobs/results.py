"""What a job's outcome is: from a reply to what is stored, and from what is stored to an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from bridge import translate
from bridge.jobs.model import Failure, Job, Reply, Settlement, State
from bridge.jobs.notices import Place, place_of
from bridge.problems import TABLE, Problem, Ran
from bridge.translate import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from activemq import Frame
    from bridge.jobs.model import Rules

CANCELLED: Final = Settlement(State.CANCELLED, Failure("job-cancelled", "the job was cancelled", "maybe"))


@dataclass(frozen=True, slots=True)
class _Returns:
    """A job's rules as :func:`translate.answer_of` wants them."""

    max_reply: int
    returns: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(cls, rules: Rules) -> _Returns:
        return cls(rules.max_reply, tuple((name, header.encode()) for name, header in rules.returns))


def expired(job: Job) -> Settlement:
    """Return what becomes of an open job whose time is over."""
    return Settlement(State.EXPIRED, failure_of(deadline_of(job)))


def deadline_of(job: Job, more: str = "") -> Problem:
    """Return the problem of an open job without a reply: how far it has come is certain where workers tell."""
    if job.state is State.RUNNING:
        return Problem("deadline", f"the worker did not finish in time{more}", "yes", {"phase": "running"})
    if job.rules.tells:
        # Not a certain "no": that it began may still be on its way to the store.
        return Problem("deadline", f"no worker took it in time{more}", "maybe", {"phase": "queued"})
    return Problem("deadline", f"no worker replied in time{more}", "maybe", {"phase": "unknown"})


def kind_of(frame: Frame) -> str:
    """Return what kind of reply it is."""
    return frame.raw("reply_kind") or "final"


def judge_of(frame: Frame, *, at_once: bool = False) -> Callable[[Job], Settlement | None]:
    """Return what makes of a job what this reply says: nothing, if it is not its turn.

    ``at_once``: also if something that its worker said before has not come.
    """
    attempt, sequence = number_of(frame, "attempt"), number_of(frame, "sequence")

    def judge(job: Job) -> Settlement | None:
        place = place_of(job, attempt, sequence)
        if place is Place.STALE or (place is Place.EARLY and not at_once):
            return None
        try:
            answer = translate.answer_of(frame, _Returns.of(job.rules))
        except Problem as problem:
            return Settlement(State.FAILED, failure_of(problem), attempt or 1)
        headers = tuple((name.decode(), value.decode()) for name, value in answer.headers)
        reply = Reply(answer.status, headers, answer.body, answer.queue_ms, answer.work_ms)
        return Settlement(State.DONE, reply, attempt or 1)

    return judge


def number_of(frame: Frame, name: str) -> int | None:
    """Return ``attempt`` or ``sequence`` of a reply; None if it does not say, or what it says is no number."""
    value = frame.raw(name)
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 10 else None


def refusal(problem: Problem) -> Settlement:
    """Return what a job becomes whose message the broker never had."""
    return Settlement(State.REFUSED, failure_of(problem))


def failure_of(problem: Problem) -> Failure:
    """Return a problem as it is stored."""
    retry_after = next((value.decode() for name, value in problem.headers if name == b"retry-after"), None)
    return Failure(
        problem.name, problem.detail, problem.ran or problem.row.ran or "maybe", dict(problem.extra), retry_after
    )


def answer_of(job: Job) -> Answer:
    """Return the answer of a final job. Raises :class:`Problem` where that is one."""
    answer = job.answer
    if isinstance(answer, Reply):
        headers = [(name.encode(), value.encode()) for name, value in answer.headers]
        return Answer(answer.status, headers, answer.body, answer.queue_ms, answer.work_ms)
    if answer is None or answer.problem not in TABLE:  # of a newer version that shares the store
        raise Problem("internal", "the job has an outcome that this bridge does not know")
    headers = [(b"retry-after", answer.retry_after.encode())] if answer.retry_after else []
    raise Problem(answer.problem, answer.detail, cast("Ran", answer.ran), answer.extra, tuple(headers))
