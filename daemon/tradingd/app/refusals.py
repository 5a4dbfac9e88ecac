"""A venue that refuses us: what the user must change ends the daemon, unless another venue can go on without it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from tradingd.app.compose import Execution
from tradingd.domain.errors import Severity, TradingdError, VenueError
from tradingd.domain.events import VenueState
from tradingd.domain.ids import VenueId
from tradingd.ports import Clock

REFUSED_RETRY_S = 60.0
CHECK_KEY = "Check the key, its permissions and its IP rule at the venue"


def key_place(venue: VenueId) -> str:
    """Where the key of a venue is taken from, in the words of the config."""
    return f"venues.{venue}.credentials_file, or TRADINGD_{venue.upper()}_API_KEY and _API_SECRET"


def advised(venue: VenueId, error: TradingdError, otherwise: str = "") -> str:
    """What was said, and for a refusal what to do about it: at the venue and with which keys of the config where it is
    about the key, else `otherwise`, where the venue's dialect knows nothing better."""
    said = str(error).rstrip(".")
    if not isinstance(error, VenueError) or error.transient:
        return said
    if error.code is not None and error.code not in said:
        said = f"{said} ({error.code})"
    advice = error.advice or (CHECK_KEY if error.about_key else otherwise)
    key = f"The key is taken from {key_place(venue)}" if error.about_key else ""
    return ". ".join(each for each in (said, advice, key) if each)


class VenueRefused(TradingdError):
    """The venue answered, and what it said must be changed by the user before anything may be traded (exit 78)."""


class Refusals:
    """Which venues refuse us now, and what each said."""

    def __init__(self, execution: Execution, venues: Iterable[VenueId], clock: Clock) -> None:
        self._execution = execution
        self._venues = tuple(venues)
        self._clock = clock
        self._refused: dict[VenueId, str] = {}

    async def outlast(self, venue: VenueId, step: Callable[[], Awaitable[None]], declared: asyncio.Event) -> None:
        """Carry `step` out; where the venue refuses, declare it DEGRADED and try again every `REFUSED_RETRY_S`.

        Raises VenueRefused once every venue refuses: then nothing is left to run for.
        """
        while True:
            try:
                await step()
            except VenueRefused as error:
                self._stand_back(venue, str(error))
                declared.set()
                await self._clock.sleep(REFUSED_RETRY_S)
            else:
                self._refused.pop(venue, None)
                return

    def _stand_back(self, venue: VenueId, said: str) -> None:
        is_news = self._refused.get(venue) != said
        self._refused[venue] = said
        if len(self._refused) == len(self._venues):
            raise VenueRefused(" ".join(self._refused[each] for each in self._venues))
        self._execution.router.mark(venue, VenueState.DEGRADED, f"refused: {said}")
        if is_news:
            others = ", ".join(each for each in self._venues if each != venue)
            what = f"{said.rstrip('.')}. Nothing is traded or protected on {venue} until it takes us, which is tried "
            what += f"each minute; keys are read at the start alone, so others need a restart. {others} goes on"
            self._execution.recorder.incident("venue_refused", Severity.CRITICAL, what, venue)
