"""Bare ccxt.pro beside a daemon on several venues: candles of the same instruments, and nothing else:
`... STALLS SYMBOLS VENUE=ENDPOINT ...`. One watcher per venue: one for each instrument is too many messages at once.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import ccxt.pro

from benchmarks.latency.stalls import write_stalls
from tradingd.venues.transport import replace_endpoint

CLASSES = {"binance": ccxt.pro.binanceusdm, "bybit": ccxt.pro.bybit}


async def watch(client: Any, symbols: list[str]) -> None:
    """Until killed."""
    while True:
        await client.watch_ohlcv_for_symbols([[symbol, "1m"] for symbol in symbols])


async def main(symbols: list[str], endpoints: dict[str, str]) -> None:
    """All instruments on all venues."""
    watching = []
    for venue, endpoint in endpoints.items():
        client = CLASSES[venue]({"enableRateLimit": False, "options": {"fetchMarkets": {"types": ["linear"]}}})
        client.urls = replace_endpoint(client.urls, endpoint)
        client.has["fetchCurrencies"] = False
        await client.load_markets()
        watching.append(watch(client, symbols))
    await asyncio.gather(*watching)


if __name__ == "__main__":
    write_stalls(Path(sys.argv[1]))
    named = dict(argument.split("=", 1) for argument in sys.argv[3:])
    asyncio.run(main(sys.argv[2].split(","), named))
