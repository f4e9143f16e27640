"""What operators ask of a running bridge: to read its settings anew."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.problems import Problem
from bridge.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from bridge.endpoints.gate import Gate
    from bridge.reload import Reloader


def operation_routes(
    reloader: Callable[[], Reloader | None], tell_others: Callable[[], None], gate: Gate
) -> list[Route]:
    """Return the pages; ``gate`` knows the operator, ``tell_others`` has other processes reload too."""

    async def reload(request: Request) -> Response:
        gate.check_admin(request)
        asked = reloader()
        if asked is None:
            raise Problem("no-route", "this bridge was not started from a file that it could read anew")
        try:
            done = await asked.reload()
        except SettingsError as error:
            faults = [
                {"key": fault.key, "line": fault.line, "source": fault.source, "message": fault.reason}
                for fault in error.faults
            ]
            raise Problem(
                "settings-refused", "nothing has changed: the settings have faults", extra={"errors": faults}
            ) from None
        tell_others()
        return JSONResponse(asdict(done), headers={"cache-control": "no-store"})

    return [Route("/-/reload", reload, methods=["POST"])]
