"""The venue as a process: killed, restarted, stopped, and what its ledger says."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.emulator.helpers import START_MS, Caller, ccxt_client, flat, write_candles
from tradingd.emulator.core.ledger import LedgerFault
from tradingd.emulator.core.records import ConditionalStatus
from tradingd.emulator.venues import VenueOptions, open_venue

SYMBOL = "BTC/USDT:USDT"
VENUE = (sys.executable, "-m", "tradingd", "venue", "binance")


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    child = subprocess.Popen(
        [*VENUE, "--port", "0", *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        line = child.stdout.readline()
        yield child, int(line.rsplit(":", 1)[1]) if line else 0
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate(timeout=10)


async def trade(port: int) -> tuple[Any, Any]:
    client = ccxt_client(port)
    try:
        await client.load_time_difference()
        entry = await client.create_order(SYMBOL, "market", "buy", 0.05, None, {"clientOrderId": "td-entry"})
        stop = await client.create_order(
            SYMBOL,
            "market",
            "sell",
            None,
            None,
            {"closePosition": True, "stopLossPrice": 50_000, "clientOrderId": "td-stop"},
        )
        await client.create_order(SYMBOL, "limit", "buy", 0.01, 63_000, {"clientOrderId": "td-rest"})
        await client.set_leverage(7, SYMBOL)
        return entry, stop
    finally:
        await client.close()


async def look(port: int) -> dict[str, Any]:
    client = ccxt_client(port)
    try:
        await client.load_time_difference()
        symbol = {"symbol": "BTCUSDT"}
        return {
            "fills": [row["id"] for row in await client.fetch_my_trades(SYMBOL)],
            "position": [row["contracts"] for row in await client.fetch_positions([SYMBOL])],
            "plain": [row["clientOrderId"] for row in await client.fetch_open_orders(SYMBOL)],
            "algo": [row["clientOrderId"] for row in await client.fetch_open_orders(SYMBOL, params={"trigger": True})],
            "leverage": (await client.fapiPrivateGetSymbolConfig(symbol))[0]["leverage"],
            "candles": [row[:5] for row in await client.fetch_ohlcv(SYMBOL, "1m", None, 50)][:-1],
            "time": await client.fetch_time(),
        }
    finally:
        await client.close()


async def test_a_killed_venue_comes_back_with_everything_it_had(tmp_path: Path) -> None:
    arguments = ("--state", str(tmp_path), "--speed", "120")
    with process(*arguments) as (child, port):
        entry, _ = await trade(port)
        before = await look(port)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
    with process(*arguments) as (child, port):
        after = await look(port)
        assert {name: after[name] for name in ("position", "plain", "algo", "leverage")} == {
            "position": [0.05],
            "plain": ["td-rest"],
            "algo": ["td-stop"],
            "leverage": 7,
        }
        assert set(before["fills"]) <= set(after["fills"])
        assert len(after["fills"]) == len(set(after["fills"])) > 0
        assert after["time"] + 5_000 * 120 > before["time"]
        later = {row[0]: row for row in after["candles"]}
        assert all(later[row[0]] == row for row in before["candles"] if row[0] in later)
        async with aiohttp.ClientSession() as session:
            await session.post(f"http://127.0.0.1:{port}/_venue/stop")
        assert child.wait(10) == 0
    check_ledger(tmp_path / "ledger.db", str(entry["id"]))


def check_ledger(path: Path, entry_id: str) -> None:
    """What a script without any code of ours reads."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    fills = db.execute("SELECT order_id, side, quantity, fee, realized_pnl FROM fills").fetchall()
    assert {str(row[0]) for row in fills} == {entry_id}
    assert sum(Decimal(row[2]) for row in fills) == Decimal("0.05")
    wallet = Decimal(db.execute("SELECT value FROM meta WHERE key = 'wallet'").fetchone()[0])
    assert wallet == 10_000 + sum(Decimal(row[4]) - Decimal(row[3]) for row in fills)
    assert db.execute("SELECT quantity FROM positions WHERE symbol = 'BTCUSDT'").fetchone() == ("0.050",)
    last = db.execute("SELECT quantity, wallet FROM position_changes ORDER BY change_id DESC LIMIT 1").fetchone()
    assert last == ("0.050", str(wallet))
    accepted = db.execute(
        "SELECT client_order_id, path FROM requests WHERE accepted AND method = 'POST' AND order_id ORDER BY arrival_ms"
    ).fetchall()
    assert accepted == [
        ("td-entry", "/fapi/v1/order"),
        ("td-stop", "/fapi/v1/algoOrder"),
        ("td-rest", "/fapi/v1/order"),
    ]
    gaps = db.execute(
        "SELECT count(*) FROM (SELECT open_ms - lag(open_ms) OVER (PARTITION BY symbol ORDER BY open_ms)"
        " AS d FROM candles) WHERE d <> 60000"
    ).fetchone()
    assert gaps == (0,)
    assert "signature" not in "".join(row[0] for row in db.execute("SELECT params FROM requests"))
    db.close()


def test_a_restored_market_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def options(where: Path) -> VenueOptions:
        return VenueOptions(symbols=("BTCUSDT",), state_dir=where, with_lags=False)

    whole, broken = Caller(options(tmp_path / "a")), Caller(options(tmp_path / "b"))
    for caller in (whole, broken):
        caller.run(3000)
    broken.venue.close()
    broken = Caller(options(tmp_path / "b"))
    for caller in (whole, broken):
        caller.run(3000)
    assert list(broken.exchange.feeds["BTCUSDT"].closed) == list(whole.exchange.feeds["BTCUSDT"].closed)


def test_a_stop_that_was_firing_when_the_venue_died_still_fires(tmp_path: Path) -> None:
    path = write_candles(tmp_path / "market.csv", [*flat(65000, 4), *flat(63000, 8)])
    options = VenueOptions(candles={"BTCUSDT": path}, history=2, state_dir=tmp_path / "state", with_lags=False)
    caller = Caller(options)
    caller.listen("btcusdt@kline_1m")
    caller.order("BUY", "0.05")
    algo = caller.algo("SELL", "STOP_MARKET", "64000", closePosition="true", workingType="MARK_PRICE")
    triggers = caller.exchange.triggers
    while triggers.orders[algo["algoId"]].status is not ConditionalStatus.TRIGGERING:
        caller.run(0.01)
    caller.venue._desk.ledger.commit()
    caller.venue._desk.ledger.abandon()
    again = Caller(options)
    again.listen("btcusdt@kline_1m")
    again.run(2)
    assert again.call("GET", "/fapi/v1/algoOrder", algoId=algo["algoId"])["algoStatus"] == "FINISHED"
    assert again.position() == 0


def test_another_market_on_the_same_ledger_is_refused(tmp_path: Path) -> None:
    open_venue(VenueOptions(state_dir=tmp_path, seed=1), START_MS).close()
    with pytest.raises(LedgerFault, match=r"belongs to another market: synthetic candles, BTCUSDT.* seed 1") as fault:
        open_venue(VenueOptions(state_dir=tmp_path, seed=2), START_MS)
    assert "asked for is synthetic" in str(fault.value) and "{" not in str(fault.value)
    assert str(fault.value).endswith("`tradingd run --fresh` discards it, or give the former market")
    (tmp_path / "ledger.db").write_bytes(b"this is not a database, and it never was one, whatever it says" * 40)
    for leftover in tmp_path.glob("ledger.db-*"):
        leftover.unlink()
    with pytest.raises(LedgerFault, match="not a usable venue ledger"):
        open_venue(VenueOptions(state_dir=tmp_path, seed=1), START_MS)


def test_a_taken_port_and_a_bad_file_end_the_process_with_a_sentence(tmp_path: Path) -> None:
    with process() as (_, port):
        child = subprocess.run([*VENUE, "--port", str(port)], timeout=20, capture_output=True, text=True, check=False)
        assert child.returncode == 69 and f"cannot listen on 127.0.0.1:{port}" in child.stderr
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n")
    child = subprocess.run(
        [*VENUE, "--port", "0", "--candles", str(bad)], timeout=20, capture_output=True, text=True, check=False
    )
    assert child.returncode == 78 and f"{bad}:1:" in child.stderr


def test_a_second_venue_on_a_ledger_in_use_is_refused_and_a_killed_one_leaves_it_free(tmp_path: Path) -> None:
    command = [*VENUE, "--port", "0", "--state", str(tmp_path)]
    with process("--state", str(tmp_path)) as (child, _):
        note = (tmp_path / "venue.json").read_text()
        second = subprocess.run(command, timeout=20, capture_output=True, text=True, check=False)
        assert second.returncode == 78 and f"another built-in venue, process {child.pid}" in second.stderr
        assert (tmp_path / "venue.json").read_text() == note
        child.kill()
        child.wait(10)
    with process("--state", str(tmp_path)) as (child, port):
        assert port and child.poll() is None


def test_sigterm_stops_in_order_and_leaves_a_note_for_whoever_attaches(tmp_path: Path) -> None:
    with process("--state", str(tmp_path)) as (child, port):
        note = json.loads((tmp_path / "venue.json").read_text())
        assert note == {"venue": "binance", "port": port, "pid": child.pid, "endpoint": f"http://127.0.0.1:{port}"}
        child.terminate()
        assert child.wait(10) == 0
