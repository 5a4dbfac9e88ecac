"""`tradingd venue bybit` as a process: killed, taken up again, and not mixed up with another venue's ledger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.bybit.bench import SYMBOL, ccxt_client
from tests.emulator.helpers import START_MS, until
from tradingd.emulator.core.ledger import LedgerFault
from tradingd.emulator.venues import VenueOptions, open_bybit, open_venue


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "tradingd", "venue", "bybit", "--port", "0", *arguments],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        line = child.stdout.readline()
        yield child, int(line.rsplit(":", 1)[1])
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate(timeout=10)


async def test_a_killed_venue_comes_back_with_position_stop_orders_and_settings(tmp_path: Path) -> None:
    async def ready(client: Any) -> Any:
        await client.load_time_difference()
        await client.load_markets()
        return await client.fetch_positions([SYMBOL])

    with process("--state", str(tmp_path)) as (child, port):
        client = ccxt_client(port)
        await ready(client)
        await client.set_leverage(7, SYMBOL)
        await client.create_order(SYMBOL, "market", "buy", 0.05, None, {"clientOrderId": "td-1"})

        async def held() -> bool:
            return bool((await client.fetch_positions([SYMBOL]))[0]["contracts"])

        await until(held)
        price = (await client.fetch_ohlcv(SYMBOL, "1m", None, 1))[-1][4]
        await client.create_order(SYMBOL, "limit", "buy", 0.01, round(price * 0.97, 1), {"clientOrderId": "td-2"})
        await client.private_post_v5_position_trading_stop(
            {"category": "linear", "symbol": "BTCUSDT", "positionIdx": 0, "stopLoss": str(round(price * 0.95))}
        )

        async def rest() -> bool:
            return len(await client.fetch_open_orders(SYMBOL)) == 2

        await until(rest)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
        await client.close()
    with process("--state", str(tmp_path)) as (child, port):
        client = ccxt_client(port)
        [position] = await ready(client)
        assert (position["contracts"], position["leverage"]) == (0.05, 7)
        assert position["stopLossPrice"] == round(price * 0.95)
        listed = await client.fetch_open_orders(SYMBOL)
        assert {row["clientOrderId"] for row in listed} == {"td-2", None}
        assert await client.fetch_open_orders(SYMBOL, params={"orderLinkId": "td-1"}) == []
        found = await client.fetch_canceled_and_closed_orders(SYMBOL, params={"orderLinkId": "td-1"})
        assert found[0]["filled"] == 0.05
        await client.close()


def test_a_ledger_of_one_venue_is_not_taken_for_anothers(tmp_path: Path) -> None:
    open_venue(VenueOptions(state_dir=tmp_path), START_MS).close()
    with pytest.raises(LedgerFault, match="belongs to another market"):
        open_bybit(VenueOptions(venue="bybit", state_dir=tmp_path), START_MS)
