"""What the daemon is measured beside: ccxt.pro alone, watching candles and ordering on each that closes, with no
journal, no checks and no limiter: `... ENDPOINT MARKS COUNT`.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import ccxt.pro

from benchmarks.latency.marks import Marks, mark_closing_frames
from tradingd.emulator.venues import DEFAULT_KEY, DEFAULT_SECRET
from tradingd.venues.transport import replace_endpoint

SYMBOL = "BTC/USDT:USDT"
QUANTITY = 0.002


class Client(ccxt.pro.binanceusdm):  # type: ignore[misc]
    """ccxt tells nobody that a candle is closed; one flag, read from the frame, is the least that a user must add."""

    closed = False

    def handle_message(self, client: Any, message: Any) -> None:
        """Note the flag, then ccxt's own work."""
        if isinstance(message, dict) and (data := message.get("data", message)).get("e") == "kline":
            self.closed = self.closed or data["k"]["x"]
        super().handle_message(client, message)


async def trade(endpoint: str, count: int) -> None:
    """A market order on each closed candle: in, out, in, out."""
    client = Client({"apiKey": DEFAULT_KEY, "secret": DEFAULT_SECRET, "enableRateLimit": False,
                     "options": {"fetchMargins": False, "fetchMarkets": {"types": ["linear"]}}})
    client.urls = replace_endpoint(client.urls, endpoint)
    client.has["fetchCurrencies"] = False
    await client.load_markets()
    for number in range(count):
        client.closed = False
        while not client.closed:
            await client.watch_ohlcv(SYMBOL, "1m")
        closing = number % 2
        await client.create_order(SYMBOL, "market", "sell" if closing else "buy", QUANTITY, None,
                                  {"reduceOnly": True} if closing else {})
    await client.close()


if __name__ == "__main__":
    mark_closing_frames(Marks(Path(sys.argv[2])))
    asyncio.run(trade(sys.argv[1], int(sys.argv[3])))
