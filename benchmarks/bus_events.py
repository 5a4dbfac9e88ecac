"""Events per second over the bus, beside one asyncio.Queue and one task per subscriber."""

import argparse
import asyncio
import statistics
import time
from decimal import Decimal

from benchmarks.world import BenchmarkFailed
from tradingd.bus import Bus
from tradingd.domain.candles import Candle
from tradingd.domain.events import CandleForming, Event
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId

SUBSCRIBERS = (1, 10, 100)
ROUNDS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--count", type=int, default=20_000, metavar="N", help="events per round with one subscriber")


class Hearer:
    """A subscriber: it counts what it hears, and nothing else."""

    def __init__(self) -> None:
        self.heard = 0

    def hear(self, _event: Event) -> None:
        """One event."""
        self.heard += 1


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 when the bus is not the faster one."""
    print(f"bus_events: {args.count} events with 1 subscriber (fewer with more), {ROUNDS} rounds each, in turn; "
          "no randomness", flush=True)
    slower = False
    for subscribers in SUBSCRIBERS:
        count = max(1, args.count // subscribers)
        bus, queues = [], []
        for _ in range(ROUNDS):
            bus.append(count / over_bus(subscribers, count))
            queues.append(count / asyncio.run(over_queues(subscribers, count)))
        ratio = statistics.median(bus) / statistics.median(queues)
        slower = slower or ratio < 1.0
        print(f"  {subscribers:3} subscribers: bus {statistics.median(bus):>9,.0f} events/s, queues "
              f"{statistics.median(queues):>9,.0f} events/s: {ratio:.1f} times")
    return 1 if slower else 0


def _event() -> CandleForming:
    price = Decimal("64000.1")
    instrument = InstrumentId(VenueId("binance"), "BTC/USDT:USDT")
    return CandleForming(Candle(instrument, "1m", 0, price, price, price, price, Decimal("1.5"), closed=False))


def _fail(event: Event, error: BaseException) -> None:
    raise BenchmarkFailed(f"a subscriber raised at {event}: {error!r}")


def over_bus(subscribers: int, count: int) -> float:
    """Seconds until every subscriber has heard every event."""
    bus, hearers, event = Bus(_fail), [Hearer() for _ in range(subscribers)], _event()
    for hearer in hearers:
        bus.subscribe(CandleForming, hearer.hear)
    began = time.perf_counter()
    for _ in range(count):
        bus.publish(event)
    took_s = time.perf_counter() - began
    _check(hearers, count)
    return took_s


async def over_queues(subscribers: int, count: int) -> float:
    """The same with a bounded queue and a task per subscriber; the publisher yields when the queues are full."""
    hearers, event = [Hearer() for _ in range(subscribers)], _event()
    queues: list[asyncio.Queue[Event]] = [asyncio.Queue(1000) for _ in hearers]

    async def consume(queue: asyncio.Queue[Event], hearer: Hearer) -> None:
        for _ in range(count):
            hearer.hear(await queue.get())

    tasks = [asyncio.create_task(consume(*pair)) for pair in zip(queues, hearers, strict=True)]
    began = time.perf_counter()
    for _ in range(count):
        for queue in queues:
            if queue.full():
                await queue.put(event)
            else:
                queue.put_nowait(event)
    await asyncio.gather(*tasks)
    took_s = time.perf_counter() - began
    _check(hearers, count)
    return took_s


def _check(hearers: list[Hearer], count: int) -> None:
    if any(hearer.heard != count for hearer in hearers):
        raise BenchmarkFailed("a subscriber did not hear every event: the figure would be of something else")
