"""Runs a handler for one message: its outcome, whatever it raises, and its call's being cancelled meanwhile."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from consumers.answer import call_of
from consumers.reply import BadReplyError, RefusedError, Reply
from consumers.request import Request

if TYPE_CHECKING:
    from activemq import Clock
    from consumers.delivery import Delivery
    from consumers.handler import Handler
    from consumers.notices import Notices
    from consumers.policies.cancellations import Cancellations

log = logging.getLogger(__name__)


async def run_handler(
    handler: Handler, delivery: Delivery, clock: Clock, cancellations: Cancellations, notices: Notices
) -> Reply | str | None:
    """Return the handler's reply, the name of the problem that it ended with, or None if its call is over.

    A cancelled call interrupts its handler, except in a thread, which has to look at ``request.cancelled``.
    """
    message = delivery.message
    request = Request(message, clock, notices)
    call = message.correlation_id or ""
    task = asyncio.current_task()
    interrupted = False

    def stop() -> None:
        nonlocal interrupted
        request.cancelled = True
        if request.interruptible and task is not None and not interrupted:
            interrupted = True
            task.cancel()

    cancellations.begin(call, stop)
    try:
        outcome = await _outcome(handler, request)
    except asyncio.CancelledError:
        if not interrupted or (task is not None and task.cancelling() > 1):
            raise  # it is we who are cancelled
        outcome = "worker-failed"
    finally:
        cancellations.end(stop)
        if interrupted and task is not None:
            task.uncancel()
    return None if request.cancelled else outcome


async def _outcome(handler: Handler, request: Request) -> Reply | str:
    """Whatever a handler raises is its own failure, and the worker goes on.

    Also the SystemExit of some library, and a cancellation that nobody asked for. Only a KeyboardInterrupt is the
    operator's.
    """
    try:
        return Reply.of(await handler(request))
    except RefusedError as error:
        return error.reply
    except BadReplyError as error:
        log.error("call %s: the reply cannot be sent: %s", call_of(request.message), error)  # noqa: TRY400 - it says all
        return "bad-reply"
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        more = {"trace_id": request.trace_id} if request.trace_id else None
        log.exception("call %s: the handler failed", call_of(request.message), extra=more)
        return "worker-failed"
