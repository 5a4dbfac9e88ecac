"""The built-in Bybit behind a real socket, unmodified ccxt.pro clients of it, and what they were told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import ccxt.pro
import pytest

from tradingd.emulator.bybit.model import BybitVenue

SYMBOL = "BTC/USDT:USDT"
ETH = "ETH/USDT:USDT"


def ccxt_client(port: int, **config: Any) -> Any:
    """An unmodified ccxt.pro client; scheme and host of every address are replaced, paths are kept."""
    client = ccxt.pro.bybit({"apiKey": "sim-key", "secret": "sim-secret", "enableRateLimit": False, **config})
    client.has["fetchCurrencies"] = False
    client.options["fetchMarkets"] = {"types": ["linear"]}

    def redirect(urls: dict[str, Any]) -> None:
        for name, value in urls.items():
            if isinstance(value, dict):
                redirect(value)
            elif isinstance(value, str):
                urls[name] = re.sub(r"^(http|ws)s?://[^/]+", rf"\1://127.0.0.1:{port}", value)

    redirect(client.urls["api"])
    return client


class Bench:
    """A venue, its server's port and clients of it."""

    def __init__(self, venue: BybitVenue, port: int) -> None:
        self.venue = venue
        self.port = port
        self.clients: list[Any] = []

    async def client(self, **config: Any) -> Any:
        client = ccxt_client(self.port, **config)
        self.clients.append(client)
        await client.load_time_difference()
        await client.load_markets()
        return client

    def act(self, kind: str, **values: Any) -> str:
        return self.venue.act(kind, values)

    def requests(self, path: str) -> list[tuple[str, str, int | None]]:
        """Method, parameters and code of what was asked there."""
        rows = self.venue._desk.ledger._db.execute(
            "SELECT method, params, code FROM requests WHERE path = ? ORDER BY request_id", (path,)
        )
        return list(rows)

    def price(self, symbol: str = "BTCUSDT") -> float:
        return float(self.venue._desk.exchange.last_price(symbol))

    def held(self, symbol: str = "BTCUSDT") -> Decimal:
        return self.venue._desk.exchange.account.positions[symbol].quantity

    async def until_held(self, quantity: str, symbol: str = "BTCUSDT") -> None:
        async def check() -> bool:
            return self.held(symbol) == Decimal(quantity)

        await until(check)

    def tap(self, client: Any) -> list[dict[str, Any]]:
        """Every raw frame that the client gets from now on."""
        frames: list[dict[str, Any]] = []
        handle = client.handle_message

        def handle_message(connection: Any, message: Any) -> None:
            frames.append(message)
            handle(connection, message)

        client.handle_message = handle_message
        return frames


def rows(frames: list[dict[str, Any]], topic: str) -> list[dict[str, Any]]:
    """All rows of one topic, in the order of their arrival."""
    return [row for frame in frames if frame.get("topic") == topic for row in frame["data"]]


async def until(check: Callable[[], Awaitable[Any]], limit_s: float = 6.0) -> Any:
    for _ in range(int(limit_s / 0.02)):
        if found := await check():
            return found
        await asyncio.sleep(0.02)
    raise TimeoutError


async def watching(bench: Bench, client: Any, *calls: str) -> list[asyncio.Task[Any]]:
    """Start private watches, and wait until the venue has their subscriptions."""
    tasks = [asyncio.create_task(getattr(client, call)()) for call in calls]

    async def subscribed() -> bool:
        return sum(len(session.topics) for session in bench.venue._desk.streams.sessions.values()) >= len(calls)

    await until(subscribed)
    return tasks


def code_of(fault: BaseException) -> int:
    return int(str(fault).split('"retCode":')[1].split(",")[0])


async def refused(call: Awaitable[Any]) -> int:
    with pytest.raises(ccxt.pro.BaseError) as caught:
        await call
    return code_of(caught.value)
