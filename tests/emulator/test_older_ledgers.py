"""A ledger that an earlier version wrote is taken up; one that a later version wrote is refused with its number."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.emulator.helpers import START_MS, Caller
from tradingd.emulator.core.ledger import LedgerFault
from tradingd.emulator.venues import LEDGER_FILE, VenueOptions, open_venue

NEW_IN_RECORDS = ("good_till_ms", "callback_fraction", "activation_ticks", "extreme_ticks")
NEW_SETTINGS = ("isolated_usdt/%", "funded_ms", "next_funding_rate/%", "filters/%", "is_hedged", "ban")


def age(path: Path) -> None:
    """Take away what the first version of the ledger did not have."""
    with sqlite3.connect(path) as db:
        for table, key in (("orders", "order_id"), ("algo_orders", "algo_id")):
            for number, text in db.execute(f"SELECT {key}, record FROM {table}").fetchall():
                record = {name: value for name, value in json.loads(text).items() if name not in NEW_IN_RECORDS}
                db.execute(f"UPDATE {table} SET record = ? WHERE {key} = ?", (json.dumps(record), number))
        for pattern in NEW_SETTINGS:
            db.execute("DELETE FROM meta WHERE key LIKE ?", (pattern,))
    db.close()


def test_a_ledger_of_the_first_version_goes_on(tmp_path: Path) -> None:
    stored = VenueOptions(symbols=("BTCUSDT",), with_lags=False, state_dir=tmp_path)
    caller = Caller(stored)
    caller.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    caller.order("BUY", "0.1")
    resting = caller.limit("BUY", "63000")
    stop = caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true")
    wallet = caller.exchange.account.wallet
    caller.venue.close()
    age(tmp_path / LEDGER_FILE)
    again = Caller(stored)
    position = again.exchange.account.positions["BTCUSDT"]
    assert again.exchange.account.wallet == wallet and str(position.quantity) == "0.100"
    assert position.isolated_usdt > 0, "what the first version did not set apart is the initial margin"
    assert [row["orderId"] for row in again.call("GET", "/fapi/v1/openOrders")] == [resting["orderId"]]
    assert [row["algoId"] for row in again.call("GET", "/fapi/v1/openAlgoOrders")] == [stop["algoId"]]
    again.run(60)
    assert again.position() == 0.1
    again.venue.close()


def test_a_ledger_of_a_later_version_is_refused(tmp_path: Path) -> None:
    stored = VenueOptions(symbols=("BTCUSDT",), with_lags=False, state_dir=tmp_path)
    Caller(stored).venue.close()
    with sqlite3.connect(tmp_path / LEDGER_FILE) as db:
        db.execute("UPDATE meta SET value = '9' WHERE key = 'schema_version'")
    db.close()
    with pytest.raises(LedgerFault, match="ledger version 9"):
        open_venue(stored, START_MS)
