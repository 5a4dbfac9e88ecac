"""Records to rows and back."""

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journal.making import BTC, NOON, make_fill, make_order
from tradingd.domain.errors import JournalError, Severity
from tradingd.domain.ids import ClientOrderId, DecisionKey, Epoch, IntentId, Purpose, StrategyId, TradeId, VenueId
from tradingd.domain.intents import TimeInForce
from tradingd.domain.orders import OrderEvent, OrderStatus
from tradingd.domain.positions import Position
from tradingd.domain.records import (
    BalanceRecord,
    BanRecord,
    BanScope,
    BootRecord,
    CommandRecord,
    DayEquityRecord,
    DecisionRecord,
    FlagRecord,
    IncidentRecord,
    IntentRecord,
    JobRecord,
    LastCloseRecord,
    LedgerRecord,
    NoteRecord,
    OrderEventRecord,
    ProtectionRecord,
    ProtectionSetRecord,
    Record,
    SignalRecord,
    StrategyStateRecord,
    StreamRecord,
)
from tradingd.journal.rows import CODECS, compiled, from_real, statement_of, to_real

BINANCE, TREND, KEY = VenueId("binance"), StrategyId("trend"), DecisionKey("d1")
D = Decimal

EVERY_RECORD: list[Any] = [
    make_order(reference_price=D("43210.15"), stop_loss=D("42000"), cancel_requested_ms=NOON, expire_ms=NOON + 1),
    msgspec.structs.replace(
        make_order(2, Purpose.STOP),
        request=msgspec.structs.replace(
            make_order(2, Purpose.STOP).request, quantity=None, close_position=True, time_in_force=TimeInForce.IOC
        ),
    ),
    make_fill(realized_pnl=D("-1.5"), maker=True, reason="liquidation"),
    Position(BTC, D("-0.5"), D("43210.1"), NOON, NOON, TREND),
    Position(BTC),
    BootRecord(Epoch("abc"), NOON, "sim", "0.1.0", 17, "00ff", NOON + 5, "asked"),
    StreamRecord(BTC, "1m", NOON, NOON + 60_000),
    DecisionRecord(KEY, TREND, "candle", BTC, NOON, "intents", 120, "00ff", True, None),
    DecisionRecord(KEY, TREND, "start", None, NOON, "error", 120, "00ff", False, "ValueError: no"),
    NoteRecord(KEY, 1, BTC, "too quiet", '{"range": 0.1}'),
    StrategyStateRecord(TREND, BTC, '{"seen": 3}', NOON),
    IntentRecord(IntentId("d1#1"), KEY, TREND, BTC, "enter", "{}", NOON, "denied", "hold_period", "60 s left", NOON),
    OrderEventRecord(
        ClientOrderId("a"), OrderEvent.REJECT, OrderStatus.SUBMITTED, OrderStatus.REJECTED, NOON, "reply", "-2019", "no"
    ),
    LedgerRecord(BINANCE, "funding", "7", BTC, D("-0.01"), "USDT", NOON),
    LedgerRecord(BINANCE, "transfer", "8", None, D("100"), "USDT", NOON),
    ProtectionRecord(BTC, TREND, IntentId("d1#1"), D("42000"), None, ClientOrderId("s"), None, "covered", NOON),
    ProtectionSetRecord(ClientOrderId("s1"), BTC, TREND, IntentId("d1#1"), D("42000"), None, "wanted", NOON),
    ProtectionSetRecord(
        ClientOrderId("s2"), BTC, None, None, None, D("4"), "wanted", NOON, "refused", "10001", "no", NOON + 1
    ),
    LastCloseRecord(BTC, NOON, "stop", TradeId("9"), TREND),
    BalanceRecord(BINANCE, "USDT", D("1000"), D("1001.5"), D("900"), NOON),
    DayEquityRecord(BINANCE, "2023-11-14", D("1000"), D("0"), NOON),
    SignalRecord("k", "webhook", TREND, "{}", NOON),
    CommandRecord("pause", "{}", "socket", NOON, "{}"),
    IncidentRecord("i1", "late_fill", Severity.CRITICAL, "what", BINANCE, BTC, TREND, NOON, None),
    IncidentRecord("i2", "clock", Severity.WARNING, "what", BINANCE, None, None, NOON, NOON + 1),
    BanRecord(BINANCE, NOON, "-1003", NOON),
    BanRecord(BINANCE, NOON, "-1015", NOON, BanScope.ORDERS, 470_000),
    JobRecord("reconcile", NOON, False, "no answer", 1_500, 2),
    FlagRecord("paused", "1", "asked", NOON),
]


@pytest.mark.parametrize("record", EVERY_RECORD, ids=lambda record: type(record).__name__)
def test_every_record_comes_back_from_its_table_as_it_went_in(record: Record, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(*statement_of(record))
    codec = CODECS[type(record)]
    (row,) = connection.execute(compiled(codec.select())).fetchall()
    assert codec.read(row) == record
    connection.close()


def test_every_record_type_is_tried_above() -> None:
    assert {type(record) for record in EVERY_RECORD} == set(CODECS) == set(Record.__args__)


@given(
    st.integers(min_value=-(10**15) + 1, max_value=10**15 - 1),
    st.integers(min_value=-20, max_value=5),
)
def test_a_decimal_of_fifteen_digits_survives_a_real_column(digits: int, exponent: int) -> None:
    value = D(digits).scaleb(exponent)
    connection = sqlite3.connect(":memory:")
    (back,) = connection.execute("SELECT CAST(? AS REAL)", (to_real(value),)).fetchone()
    assert from_real(back) == value
    connection.close()


def test_an_average_with_more_digits_is_rounded_to_fifteen() -> None:
    assert from_real(to_real(D(2) / D(3))) == D("0.666666666666667")


@pytest.mark.parametrize("value", [D("NaN"), D("Infinity"), D("-Infinity"), D("1e400"), 1.5, None])
def test_what_is_no_finite_decimal_is_refused(value: Any) -> None:
    with pytest.raises(JournalError, match="the journal cannot store this Fill"):
        statement_of(make_fill(price=value))


def test_times_have_an_iso_column_to_the_millisecond(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(*statement_of(make_fill(time_ms=1_700_000_000_001)))
    assert connection.execute("SELECT time_iso FROM fills").fetchone() == ("2023-11-14T22:13:20.001Z",)
    connection.close()


@pytest.mark.fault(49)
def test_the_same_ledger_movement_seen_twice_is_kept_once(path: Path) -> None:
    connection = sqlite3.connect(path)
    for amount in ("-0.01", "-0.02"):
        connection.execute(*statement_of(LedgerRecord(BINANCE, "funding", "7", BTC, D(amount), "USDT", NOON)))
    assert connection.execute("SELECT amount FROM ledger").fetchall() == [(-0.01,)]
    connection.close()
