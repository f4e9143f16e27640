"""A rate such as ``50/s``: so many at once, and from then on so many in each second."""

from __future__ import annotations

from typing import Final

_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0}


class Rate:
    """The generic cell rate algorithm (ITU-T I.371, annex A): one number to keep, whatever the rate.

    ``text`` is a rate of the settings: ``COUNT/UNIT`` with the unit s, m or h. COUNT may come at once; each comes back
    after its share of the unit. All times are seconds of one clock that never goes back.
    """

    __slots__ = ("_all_back", "_share", "_unit")

    def __init__(self, text: str) -> None:
        count, _, unit = text.partition("/")
        self._unit = _SECONDS[unit]
        self._share = self._unit / int(count)
        self._all_back = 0.0  # when everything that was taken will be back

    def take(self, now: float) -> float:
        """Take one, and return 0.0; or take nothing, and return after how many seconds one is there."""
        all_back = max(self._all_back, now) + self._share
        # A thousandth of a share is the rounding of a count that was all taken at one moment.
        wait = all_back - now - self._unit - self._share / 1_000
        if wait > 0:
            return wait
        self._all_back = all_back
        return 0.0
