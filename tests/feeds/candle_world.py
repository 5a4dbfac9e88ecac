"""A market of known candles behind the `candles` method of the Venue port, and a clock that the test moves."""

import asyncio
import heapq
from decimal import Decimal

from tradingd.bus import Bus
from tradingd.domain.candles import Candle
from tradingd.domain.errors import VenueUnreachable
from tradingd.domain.events import CandleClosed, CandleForming, IncidentRaised
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.feeds.candle_feed import CandleFeed, CandleFeedSettings

BTC = InstrumentId(VenueId("binance"), "BTC/USDT:USDT")
MINUTE = 60_000
T0 = 1_700_000_040_000  # a whole minute


def candle(index: int, *, closed: bool = True, close: str | None = None) -> Candle:
    price = Decimal(close) if close else Decimal(100 + index)
    return Candle(BTC, "1m", T0 + index * MINUTE, price, price + 1, price - 1, price, Decimal(7), closed)


class ManualClock:
    """Venue time and real time from one counter; `advance` wakes sleepers in the order of their times."""

    speed = 1.0
    error_ms = 0

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._seconds = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def at(self, venue: VenueId) -> "ManualClock":
        return self

    def now_ms(self) -> int:
        return self._start_ms + round(self._seconds * 1000)

    wall_ms = now_ms

    def monotonic(self) -> float:
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._seconds + max(0.0, seconds), self._count, future))
        await future

    async def advance(self, seconds: float) -> None:
        end = self._seconds + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, future = heapq.heappop(self._sleepers)
            self._seconds = max(self._seconds, at)
            if not future.done():
                future.set_result(None)
            await settle()
        self._seconds = end
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class MiddleRandom:
    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def token(self, length: int) -> str:
        return "0" * length


class CandleVenue:
    """The market's truth over REST: candles [0, count) exist, but for `missing`; the clock says which are closed."""

    def __init__(self, clock: ManualClock, missing: frozenset[int] = frozenset()) -> None:
        self.clock = clock
        self.missing = missing
        self.first = -10_000
        self.failures = 0
        self.lag_candles = 0
        self.requests: list[int] = []

    def closed_until(self) -> int:
        """The index of the candle that is open now."""
        return (self.clock.now_ms() - T0) // MINUTE

    async def candles(self, instrument: InstrumentId, timeframe: str, since_ms: int, limit: int) -> list[Candle]:
        assert (instrument, timeframe) == (BTC, "1m")
        self.requests.append(since_ms)
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise VenueUnreachable("connection reset")
        first = max(self.first, -((T0 - since_ms) // MINUTE))
        open_now = self.closed_until() - self.lag_candles
        shown = [index for index in range(first, open_now + 1) if index not in self.missing][:limit]
        return [candle(index, closed=index < open_now) for index in shown]


class World:
    """One feed over one market, and everything that it published."""

    def __init__(self, settings: CandleFeedSettings | None = None, missing: frozenset[int] = frozenset()) -> None:
        self.clock = ManualClock(T0)
        self.venue = CandleVenue(self.clock, missing)
        self.faults: list[BaseException] = []
        self.bus = Bus(lambda _event, error: self.faults.append(error))
        self.closed: list[Candle] = []
        self.forming: list[Candle] = []
        self.incidents: list[str] = []
        self.bus.subscribe(CandleClosed, lambda event: self.closed.append(event.candle))
        self.bus.subscribe(CandleForming, lambda event: self.forming.append(event.candle))
        self.bus.subscribe(IncidentRaised, lambda event: self.incidents.append(event.kind))
        self.feed = CandleFeed(
            BTC,
            "1m",
            venue=self.venue,  # type: ignore[arg-type]
            bus=self.bus,
            clock=self.clock,
            random=MiddleRandom(),
            settings=settings or CandleFeedSettings(),
        )

    async def start_live(self) -> None:
        """First start at T0: candle −1 is history, candle 0 is open."""
        await self.feed.start(None)
        self.feed.release()

    @property
    def delivered(self) -> list[int]:
        return [(one.open_time_ms - T0) // MINUTE for one in self.closed]
