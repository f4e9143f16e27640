"""What differs between brokers, one small profile each. Nowhere else does a broker's name appear in an ``if``."""

from activemq.brokers.artemis import ARTEMIS
from activemq.brokers.attendance import Attendance
from activemq.brokers.classic import CLASSIC
from activemq.brokers.epitaph import Epitaph
from activemq.brokers.profile import Profile, Question
from activemq.errors import ConnectFailedError

PROFILES: dict[str, Profile] = {profile.kind: profile for profile in (CLASSIC, ARTEMIS)}


def profile_for(kind: str, server: str) -> Profile:
    """Return the profile of a broker.

    ``kind`` is the setting (``auto``, ``classic``, …), ``server`` the header of the CONNECTED frame, e.g.
    ``ActiveMQ/6.3.1``. Raises :class:`ConnectFailedError` for a broker that this version has no profile for.
    """
    if kind == "auto":
        for profile in PROFILES.values():
            if profile.recognises(server):
                return profile
        kind = server or "a broker that does not say its name"
    try:
        return PROFILES[kind]
    except KeyError:
        known = ", ".join(sorted(PROFILES))
        raise ConnectFailedError(f"no profile for {kind} in this version; it knows: {known}") from None


__all__ = ["PROFILES", "Attendance", "Epitaph", "Profile", "Question", "profile_for"]
