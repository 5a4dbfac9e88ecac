"""The built-in Bybit behind a real socket, unmodified ccxt.pro clients of it, and what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any

import ccxt.pro

from tests.emulator import helpers
from tests.emulator.helpers import redirect, until
from tradingd.emulator.bybit.model import BybitVenue

SYMBOL = "BTC/USDT:USDT"
ETH = "ETH/USDT:USDT"


def ccxt_client(port: int, **config: Any) -> Any:
    """An unmodified ccxt.pro client of a built-in Bybit."""
    client = ccxt.pro.bybit({"apiKey": "sim-key", "secret": "sim-secret", "enableRateLimit": False, **config})
    client.has["fetchCurrencies"] = False
    client.options["fetchMarkets"] = {"types": ["linear"]}
    return redirect(client, port)


class Bench(helpers.Bench):
    """A venue, its server's port and clients of it."""

    venue: BybitVenue
    make_client = staticmethod(ccxt_client)

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


async def watching(bench: Bench, client: Any, *calls: str) -> list[asyncio.Task[Any]]:
    """Start private watches, and wait until the venue has their subscriptions."""
    tasks = [asyncio.create_task(getattr(client, call)()) for call in calls]

    async def subscribed() -> bool:
        return sum(len(session.topics) for session in bench.venue._desk.streams.sessions.values()) >= len(calls)

    await until(subscribed)
    return tasks


def code_of(fault: BaseException) -> int:
    return helpers.code_of(fault, "retCode")


async def refused(call: Awaitable[Any]) -> int:
    return await helpers.refused(call, "retCode")
