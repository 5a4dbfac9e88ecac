"""Ports for these tests: the machine's clock, a budget that writes down what it was asked, a sink that keeps all."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tradingd.config.credentials import Credentials, Secret
from tradingd.domain.account import VenueBalance, VenueOrder, VenuePosition
from tradingd.domain.candles import Candle
from tradingd.domain.errors import VenueBanned
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Fill
from tradingd.ports import Priority

BINANCE_ID = VenueId("binance")
BTC = InstrumentId.parse("BTC/USDT:USDT@binance")
KEY, SECRET = "key-7f3a", "secret-91bc"
CREDENTIALS = Credentials(Secret(KEY), Secret(SECRET), None, "test")


async def until(check: Callable[[], Awaitable[Any]], timeout_s: float = 15.0) -> Any:
    """The first true answer of `check`, asked again and again: what the venue shows lags behind what it did."""
    deadline = time.monotonic() + timeout_s
    found = None
    while not found and time.monotonic() < deadline:
        found = await check()
        await asyncio.sleep(0 if found else 0.02)
    assert found, f"not so within {timeout_s:g} s"
    return found


class MachineClock:
    """The machine's time, shifted and scaled where a test wants it."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self.offset_ms = 0
        self.wall_offset_ms = 0
        self.longest_sleep_s = 60.0
        self._start_ms = time.time_ns() // 1_000_000
        self._start = time.monotonic()

    def at(self, venue: VenueId) -> "MachineClock":
        return self

    def now_ms(self) -> int:
        return self._start_ms + self.offset_ms + int((time.monotonic() - self._start) * 1000 * self.speed)

    @property
    def error_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.wall_offset_ms

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, self.longest_sleep_s))


class SeededRandom:
    """Repeatable chance."""

    def __init__(self) -> None:
        self._random = random.Random(5)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def token(self, length: int) -> str:
        return "".join(self._random.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(length))


class Budget:
    """Grants everything until a ban, and remembers."""

    def __init__(self) -> None:
        self.acquired: list[tuple[str, Priority]] = []
        self.observed: list[tuple[int, dict[str, str]]] = []
        self.sent_ms: list[int] = []
        self.refused: list[str] = []
        self.bans: list[tuple[int, str]] = []
        self.closed: list[int] = []
        self.windows: tuple[tuple[str, int, int, str, bool], ...] = ()
        self.banned = False

    async def acquire(self, venue: VenueId, endpoint: str, priority: Priority) -> None:
        self.refuse_banned(venue, endpoint)
        self.acquired.append((endpoint, priority))

    def refuse_banned(self, venue: VenueId, endpoint: str) -> None:
        if self.banned:
            raise VenueBanned("banned", until_ms=1)

    def adopt(self, venue: VenueId, windows: tuple[tuple[str, int, int, str, bool], ...]) -> None:
        self.windows = windows

    def observe(
        self,
        venue: VenueId,
        status: int,
        headers: dict[str, str],
        sent_ms: int,
        endpoint: str,
        *,
        is_refusal: bool = False,
    ) -> None:
        self.observed.append((status, headers))
        self.refused += [endpoint] * is_refusal
        self.sent_ms.append(sent_ms)

    def ban(self, venue: VenueId, until_ms: int, reason: str) -> None:
        self.bans.append((until_ms, reason))

    def close_orders(self, venue: VenueId, until_ms: int, reason: str) -> None:
        self.closed.append(until_ms)


class Sink:
    """Keeps what a venue pushes, in order, and lets a test wait for one thing."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.bad_streams: list[str] = []
        self._arrived = asyncio.Event()

    def _keep(self, name: str, what: Any) -> None:
        self.events.append((name, what))
        self._arrived.set()

    def on_candle(self, candle: Candle) -> None:
        self._keep("candle", candle)

    def on_order(self, order: VenueOrder) -> None:
        self._keep("order", order)

    def on_fill(self, fill: Fill) -> None:
        self._keep("fill", fill)

    def on_position(self, position: VenuePosition) -> None:
        self._keep("position", position)

    def on_balance(self, balance: VenueBalance) -> None:
        self._keep("balance", balance)

    def on_alive(self, venue: VenueId, stream: str) -> None:
        self._keep("alive", stream)

    def on_disconnect(self, venue: VenueId, stream: str, reason: str) -> None:
        self._keep("disconnect", (stream, reason))

    def on_bad_frame(self, venue: VenueId, stream: str, reason: str) -> None:
        self._keep("bad_frame", reason)
        self.bad_streams.append(stream)

    def all(self, name: str) -> list[Any]:
        return [what for kind, what in self.events if kind == name]

    async def wait_for(self, name: str, count: int = 1, timeout_s: float = 5.0, match: Any = None) -> Any:
        """The `count`-th event of that name (that `match` accepts); fails after `timeout_s`."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = [what for what in self.all(name) if match is None or match(what)]
                if len(found) >= count:
                    return found[count - 1]
                self._arrived.clear()
                await self._arrived.wait()
