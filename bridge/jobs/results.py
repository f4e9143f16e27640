"""What a job's outcome is: from a reply to what is stored, and from what is stored to an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from activemq.errors import ActiveMQError
from bridge import translate
from bridge.jobs.model import Failure, Job, Reply, Settlement, State
from bridge.problems import TABLE, Problem, Ran
from bridge.translate import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from activemq import Frame
    from bridge.jobs.model import Rules

EXPIRED: Final = Settlement(
    State.EXPIRED, Failure("deadline", "no worker replied in time", "maybe", {"phase": "unknown"})
)
CANCELLED: Final = Settlement(State.CANCELLED, Failure("job-cancelled", "the job was cancelled", "maybe"))


@dataclass(frozen=True, slots=True)
class _Returns:
    """A job's rules as :func:`translate.answer_of` wants them."""

    max_reply: int
    returns: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(cls, rules: Rules) -> _Returns:
        return cls(rules.max_reply, tuple((name, header.encode()) for name, header in rules.returns))


def is_final(frame: Frame) -> bool:
    """Say whether a reply ends its job; other kinds were not asked for."""
    return (frame.raw("reply_kind") or "final") == "final"


def judge_of(frame: Frame) -> Callable[[Job], Settlement]:
    """Return what makes of a job what this reply says."""

    def judge(job: Job) -> Settlement:
        attempt = _attempt(frame)
        try:
            answer = translate.answer_of(frame, _Returns.of(job.rules))
        except Problem as problem:
            return Settlement(State.FAILED, failure_of(problem), attempt)
        headers = tuple((name.decode(), value.decode()) for name, value in answer.headers)
        reply = Reply(answer.status, headers, answer.body, answer.queue_ms, answer.work_ms)
        return Settlement(State.DONE, reply, attempt)

    return judge


def _attempt(frame: Frame) -> int:
    """Return which attempt the reply is of; at least one there was."""
    try:
        value = frame.get("attempt")
    except ActiveMQError:
        value = None
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 5 else 1


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
