"""How a start ends: the broker answers, or waits for the one that it stands in for, or it does not come up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activemq.embedded import logs, ready
from activemq.errors import BrokerStartError, PortInUseError

if TYPE_CHECKING:
    from activemq.embedded.folder import DataFolder
    from activemq.embedded.process import BrokerProcess
    from activemq.embedded.standby import Waits
    from activemq.errors import EmbeddedBrokerError

_PROBE_INTERVAL = 0.02  # seconds
_LOOK_INTERVAL = 0.1  # seconds between two looks at the log


@dataclass(frozen=True, slots=True)
class Starting:
    """A broker that was just started. ``label`` is what to call it; ``waits`` what its log says if it is a standby."""

    process: BrokerProcess
    folder: DataFolder
    label: str
    stomp_port: int
    login: str
    passcode: str
    waits: Waits | None = None

    async def until_up(self, timeout: float) -> None:
        """Return once it answers STOMP or says that it waits.

        Raises ``PortInUseError`` or ``BrokerStartError`` with the telling lines of its log.
        """
        ended = asyncio.ensure_future(self.process.wait())
        tasks = [ended, asyncio.ensure_future(self._probe())]
        if self.waits is not None:
            tasks.append(asyncio.ensure_future(self._look(self.waits)))
        try:
            done, _ = await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if done - {ended}:
                for task in done - {ended}:
                    task.result()
            elif ended in done:
                raise self._explain(ended.result())
            else:
                raise self._failed(f"did not answer within {timeout:g} s")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self) -> int:
        try:
            # nothing but the port itself tells when it opens
            while not await ready.answers(self.stomp_port, self.login, self.passcode):  # noqa: ASYNC110
                await asyncio.sleep(_PROBE_INTERVAL)
        except ready.RefusedError as error:  # ours knows the login: somebody else was faster on that port
            raise PortInUseError(self.stomp_port) from error
        return self.stomp_port

    async def _look(self, waits: Waits) -> int:
        # nothing but its log tells that it waits
        while True:
            if waits.told_by(logs.read_tail(self.folder.log)):
                await asyncio.sleep(waits.settled)
                if waits.told_by(logs.read_tail(self.folder.log)):
                    return self.stomp_port
            await asyncio.sleep(_LOOK_INTERVAL)

    def _explain(self, code: int) -> EmbeddedBrokerError:
        text = logs.read_tail(self.folder.log)
        if (port := logs.taken_port(text)) is not None:
            return PortInUseError(port)
        if logs.store_locked(text):
            return self.folder.in_use()
        # it exits with 0 after most failures
        return self._failed(f"ended while starting{f' (exit code {code})' if code else ''}")

    def _failed(self, how: str) -> BrokerStartError:
        said = logs.telling_lines(logs.read_tail(self.folder.log)) or "nothing"
        return BrokerStartError(f"{self.label} {how}. It said:\n  {said}", self.folder.kept_log)
