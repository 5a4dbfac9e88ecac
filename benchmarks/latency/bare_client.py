"""What the daemon is measured beside: ccxt.pro alone, watching candles and ordering on each that closes, with no
journal and no checks: `... ENDPOINT MARKS SPEED SYMBOLS [--throttled]`. With several symbols, all at once on each
closed candle of the first; without `--throttled` ccxt's own limiter is off.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import ccxt.pro

from benchmarks.latency.marks import WANTED, Marks, mark_closing_frames
from tradingd.emulator.venues import DEFAULT_KEY, DEFAULT_SECRET
from tradingd.venues.transport import replace_endpoint

QUANTITY = 0.02


class Client(ccxt.pro.binanceusdm):  # type: ignore[misc]
    """ccxt tells nobody that a candle is closed; one flag, read from the frame, is the least that a user must add."""

    closed = False
    speed = 1
    _venue_ms, _at_s = 0, 0.0

    async def learn_time(self) -> None:
        """The venue's time runs `speed` times as fast as ours; requests are signed with it."""
        self._venue_ms, self._at_s = await self.fetch_time(), time.monotonic()

    def nonce(self) -> int:
        """The time that a request is signed with, in venue milliseconds."""
        return self._venue_ms + int((time.monotonic() - self._at_s) * 1000 * self.speed)

    def handle_message(self, client: Any, message: Any) -> None:
        """Note the flag, then ccxt's own work."""
        if isinstance(message, dict) and (data := message.get("data", message)).get("e") == "kline":
            self.closed = self.closed or data["k"]["x"]
        super().handle_message(client, message)


async def trade(endpoint: str, speed: int, symbols: list[str], throttled: bool, marks: Marks) -> None:
    """A market order on each closed candle: in, out, in, out; until killed."""
    client = Client({"apiKey": DEFAULT_KEY, "secret": DEFAULT_SECRET, "enableRateLimit": throttled,
                     "options": {"fetchMargins": False, "fetchMarkets": {"types": ["linear"]}}})
    client.urls = replace_endpoint(client.urls, endpoint)
    client.has["fetchCurrencies"] = False
    client.speed = speed
    await client.load_markets()
    await client.learn_time()
    closing = False
    while True:
        client.closed = False
        while not client.closed:
            await client.watch_ohlcv(symbols[0], "1m")
        marks.put(WANTED)
        await asyncio.gather(*(
            client.create_order(symbol, "market", "sell" if closing else "buy", QUANTITY, None,
                                {"reduceOnly": True} if closing else {}) for symbol in symbols))
        closing = not closing


if __name__ == "__main__":
    stamps = Marks(Path(sys.argv[2]))
    mark_closing_frames(stamps)
    asyncio.run(trade(sys.argv[1], int(sys.argv[3]), sys.argv[4].split(","), "--throttled" in sys.argv, stamps))
