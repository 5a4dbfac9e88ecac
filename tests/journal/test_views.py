"""The views that analysts rely on, against plain Python and against small worlds."""

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journal.making import BTC, ETH, NOON, make_fill, make_order, write
from tradingd.domain.errors import Severity
from tradingd.domain.ids import (
    ClientOrderId,
    DecisionKey,
    IntentId,
    Purpose,
    StrategyId,
    TradeId,
    VenueId,
    VenueOrderId,
)
from tradingd.domain.intents import Side
from tradingd.domain.numbers import ZERO
from tradingd.domain.orders import Fill, OrderEvent, OrderStatus
from tradingd.domain.positions import Position
from tradingd.domain.records import (
    DayEquityRecord,
    DecisionRecord,
    IncidentRecord,
    IntentRecord,
    LastCloseRecord,
    LedgerRecord,
    NoteRecord,
    OrderEventRecord,
    ProtectionRecord,
)
from tradingd.journal.views import VIEWS

D = Decimal
BINANCE, TREND = VenueId("binance"), StrategyId("trend")


@pytest.fixture
def journal(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


def rows(connection: sqlite3.Connection, sql: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(sql)]


# --- v_trades against plain Python ------------------------------------------------------------------------------------


@dataclass
class Trip:
    """One round trip in exact numbers."""

    opened_ms: int
    direction: str
    closed_ms: int = 0
    held: Decimal = ZERO
    entered: Decimal = ZERO
    paid: Decimal = ZERO
    exited: Decimal = ZERO
    received: Decimal = ZERO
    fees: Decimal = ZERO
    fills: set[str] = field(default_factory=set)
    last: str = ""

    @property
    def gross(self) -> Decimal:
        return (self.received - self.paid) * (1 if self.direction == "long" else -1)


def trips_of(fills: list[Fill]) -> list[Trip]:
    """The closed round trips of one instrument's fills; a fill that turns the position counts for two."""
    closed: list[Trip] = []
    trip: Trip | None = None
    for fill in sorted(fills, key=lambda one: (one.time_ms, int(one.trade_id))):
        rest = fill.quantity
        while rest:
            if trip is None:
                trip = Trip(fill.time_ms, "long" if fill.side is Side.BUY else "short")
            adds = (fill.side is Side.BUY) == (trip.direction == "long")
            part = rest if adds else min(rest, trip.held)
            trip.fees += fill.fee * part / fill.quantity
            trip.fills.add(fill.trade_id)
            if adds:
                trip.held, trip.entered, trip.paid = (
                    trip.held + part,
                    trip.entered + part,
                    trip.paid + part * fill.price,
                )
            else:
                trip.held -= part
                trip.exited, trip.received = trip.exited + part, trip.received + part * fill.price
            rest -= part
            if not trip.held:
                trip.closed_ms, trip.last = fill.time_ms, fill.trade_id
                closed.append(trip)
                trip = None
    return closed


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Fill], list[LedgerRecord]]:
    """Fills of two instruments, written in any order, and funding in between."""
    fills = []
    time_ms = NOON
    lot = draw(st.sampled_from([D("0.001"), D("0.1"), D("1000")]))
    for number in range(1, draw(st.integers(1, 25)) + 1):
        time_ms += draw(st.sampled_from([0, 1, 60_000]))
        fills.append(
            make_fill(
                number,
                draw(st.sampled_from(Side)),
                instrument=draw(st.sampled_from([BTC, ETH])),
                price=D(draw(st.integers(10_000, 99_999))) / 10,
                quantity=draw(st.integers(1, 4)) * lot,
                fee=D(draw(st.integers(-5, 50))) / 100,
                time_ms=time_ms,
            )
        )
    moments = st.sampled_from([fill.time_ms for fill in fills]) | st.integers(NOON, time_ms)
    ledger = [
        LedgerRecord(BINANCE, "funding", str(number), BTC, D(draw(st.integers(-9, 9))), "USDT", moment)
        for number, moment in enumerate(draw(st.lists(moments, max_size=4)))
    ]
    return draw(st.permutations(fills)), ledger


@pytest.fixture(scope="module")
def scratch(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    own = tmp_path_factory.mktemp("views") / "journal.sqlite"
    shutil.copyfile(migrated, own)
    connection = sqlite3.connect(own)
    connection.execute("PRAGMA synchronous = OFF")
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-6)


@given(histories())
def test_trades_equal_those_of_plain_python(
    scratch: sqlite3.Connection, history: tuple[list[Fill], list[LedgerRecord]]
) -> None:
    fills, ledger = history
    scratch.execute("DELETE FROM fills")
    scratch.execute("DELETE FROM ledger")
    write(scratch, *fills, *ledger)
    for instrument in (BTC, ETH):
        wanted = trips_of([fill for fill in fills if fill.instrument == instrument])
        found = rows(
            scratch, f"SELECT * FROM v_trades WHERE symbol = '{instrument.symbol}' ORDER BY closed_ms, opened_ms"
        )
        wanted.sort(key=lambda trip: (trip.closed_ms, trip.opened_ms))
        assert len(found) == len(wanted)
        for trip, row in zip(wanted, found, strict=True):
            funding = sum(
                (
                    one.amount
                    for one in ledger
                    if one.instrument == instrument and trip.opened_ms < one.time_ms <= trip.closed_ms
                ),
                D(0),
            )
            assert (row["opened_ms"], row["closed_ms"]) == (trip.opened_ms, trip.closed_ms)
            assert row["held_s"] == (trip.closed_ms - trip.opened_ms) / 1000
            if sum(one.closed_ms == trip.closed_ms and one.opened_ms == trip.opened_ms for one in wanted) > 1:
                continue  # several trades within one ms: told apart only by their order
            assert (row["direction"], row["fills"], row["exit_trade_id"]) == (
                trip.direction,
                len(trip.fills),
                trip.last,
            )
            assert row["quantity"] == near(float(trip.entered))
            assert row["entry_price"] == near(float(trip.paid / trip.entered))
            assert row["exit_price"] == near(float(trip.received / trip.exited))
            assert row["gross_pnl"] == near(float(trip.gross))
            assert row["fees"] == near(float(trip.fees))
            assert row["funding"] == near(float(funding))
            assert row["pnl"] == near(float(trip.gross - trip.fees + funding))


@pytest.mark.fault(60)
def test_ten_thousand_small_fills_still_end_at_exactly_zero(journal: sqlite3.Connection) -> None:
    """Float sums of 0.1 drift away from zero; a trade would then never close."""
    buys = [make_fill(n, quantity=D("0.1"), time_ms=NOON + n) for n in range(1, 10_001)]
    write(journal, *buys, make_fill(20_000, Side.SELL, quantity=D("1000"), time_ms=NOON + 20_000))
    (trade,) = rows(journal, "SELECT quantity, fills FROM v_trades")
    assert trade == {"quantity": pytest.approx(1000), "fills": 10_001}


# --- one whole trade, by every view -----------------------------------------------------------------------------------


def a_traded_world(journal: sqlite3.Connection) -> None:
    """A long entry in two fills, stopped out in two; a denied entry; a rejected one; an open short on ETH."""
    decision = DecisionRecord(DecisionKey("d1"), TREND, "candle", BTC, NOON, "intents", 250, "c0de")
    enter = IntentRecord(
        IntentId("d1#1"), DecisionKey("d1"), TREND, BTC, "enter", "{}", NOON, "ordered", decided_ms=NOON
    )
    denied = IntentRecord(
        IntentId("d2#1"), DecisionKey("d2"), TREND, BTC, "enter", "{}", NOON + 9, "denied", "hold_period", "30 s"
    )
    entry = make_order(1, status=OrderStatus.FILLED, signed_ms=NOON + 3, reference_price=D(1000), average_price=D(1001))
    stop = make_order(
        2,
        Purpose.STOP,
        Side.SELL,
        status=OrderStatus.TRIGGERED,
        reference_price=D(990),
        venue_order_id=VenueOrderId("algo1"),
        child_venue_order_id=VenueOrderId("child1"),
        signed_ms=NOON + 20,
    )
    refused = make_order(
        3, status=OrderStatus.REJECTED, reject_code="-2019", reason="no margin", intent_id=IntentId("d3#1")
    )
    first: dict[str, Any] = {"client_order_id": entry.client_order_id}
    write(
        journal,
        decision,
        NoteRecord(DecisionKey("d1"), 1, BTC, "strong", "{}"),
        enter,
        denied,
        entry,
        stop,
        refused,
        OrderEventRecord(
            entry.client_order_id, OrderEvent.SUBMIT, OrderStatus.INITIALIZED, OrderStatus.SUBMITTED, NOON + 3, "local"
        ),
        OrderEventRecord(
            entry.client_order_id, OrderEvent.TIME_OUT, OrderStatus.SUBMITTED, OrderStatus.IN_DOUBT, NOON + 5, "local"
        ),
        OrderEventRecord(
            entry.client_order_id, OrderEvent.ACCEPT, OrderStatus.IN_DOUBT, OrderStatus.ACCEPTED, NOON + 8, "stream"
        ),
        OrderEventRecord(
            refused.client_order_id,
            OrderEvent.REJECT,
            OrderStatus.SUBMITTED,
            OrderStatus.REJECTED,
            NOON + 7,
            "reply",
            "-2019",
            "Margin",
        ),
        make_fill(1, price=D(1000), quantity=D(1), fee=D("0.5"), time_ms=NOON + 10, **first),
        make_fill(2, price=D(1002), quantity=D(1), fee=D("0.5"), time_ms=NOON + 11, **first),
        LedgerRecord(BINANCE, "funding", "f1", BTC, D("-0.2"), "USDT", NOON + 30_000),
        # the venue shows fills of a triggered stop under its child, without our id
        make_fill(
            3, Side.SELL, price=D(989), quantity=D("1.5"), time_ms=NOON + 60_000, venue_order_id=VenueOrderId("child1")
        ),
        make_fill(
            4, Side.SELL, price=D(987), quantity=D("0.5"), time_ms=NOON + 60_011, venue_order_id=VenueOrderId("child1")
        ),
        LastCloseRecord(BTC, NOON + 60_011, "stop", TradeId("4"), TREND),
        make_fill(5, Side.SELL, instrument=ETH, time_ms=NOON + 99),
        Position(BTC),
        Position(ETH, D("-0.5"), D("43210.1"), NOON + 99, NOON + 99),
        ProtectionRecord(ETH, TREND, None, D(50000), None, ClientOrderId("s"), None, "covered", NOON + 100),
        DayEquityRecord(BINANCE, "2023-11-14", D(1000), D(0), NOON),
        DayEquityRecord(BINANCE, "2023-11-13", D(990), D(0), NOON),
        IncidentRecord("i1", "late_fill", Severity.CRITICAL, "what", BINANCE, BTC, None, NOON),
    )


def test_a_trade_has_its_costs_slippage_and_the_reason_of_its_end(journal: sqlite3.Connection) -> None:
    a_traded_world(journal)
    (trade,) = rows(journal, "SELECT * FROM v_trades")
    assert trade["gross_pnl"] == pytest.approx(1.5 * 989 + 0.5 * 987 - 1000 - 1002)
    assert trade["pnl"] == pytest.approx(trade["gross_pnl"] - 1.5 - 0.2)
    assert trade["entry_slippage_bps"] == pytest.approx(10)  # paid 1001 on average for a decision at 1000
    assert trade["exit_slippage_bps"] == pytest.approx((990 - 988.5) / 990 * 1e4)
    assert (trade["exit_by"], trade["exit_reason"], trade["strategy"]) == ("stop_loss", "stop_loss", "trend")
    assert (trade["entry_order"], trade["exit_order"]) == ("td-lp1abcdef-1e", "td-lp1abcdef-2s")
    assert (trade["closed"], trade["held_s"]) == ("2023-11-14T12:01:00.011Z", 60.001)


@pytest.mark.parametrize(("reason", "told"), [("liquidation", "liquidation"), ("", "foreign")])
def test_a_trade_that_nobody_here_ended_says_so(journal: sqlite3.Connection, reason: str, told: str) -> None:
    write(journal, make_fill(1), make_fill(2, Side.SELL, reason=reason))
    (trade,) = rows(journal, "SELECT exit_by, exit_reason, exit_order, strategy FROM v_trades")
    assert trade == {"exit_by": told, "exit_reason": told, "exit_order": None, "strategy": None}


def test_a_later_close_changes_nothing_about_an_older_trade(journal: sqlite3.Connection) -> None:
    stop = make_order(2, Purpose.STOP, Side.SELL)
    write(
        journal,
        stop,
        make_fill(1),
        make_fill(2, Side.SELL, client_order_id=stop.client_order_id),
        LastCloseRecord(BTC, NOON + 2, "stop", TradeId("2"), TREND),
        make_fill(3),
        make_fill(4, Side.SELL, reason="adl"),
        LastCloseRecord(BTC, NOON + 4, "liquidation", TradeId("4"), None),
    )
    before = rows(journal, "SELECT * FROM v_trades ORDER BY closed_ms")
    ends = [(trade["exit_by"], trade["exit_reason"]) for trade in before]
    assert ends == [("stop_loss", "stop_loss"), ("adl", "adl")]
    write(
        journal,
        make_fill(5),
        make_fill(6, Side.SELL),
        LastCloseRecord(BTC, NOON + 6, "foreign", TradeId("6"), None),
    )
    after = rows(journal, "SELECT * FROM v_trades ORDER BY closed_ms")
    assert after[:2] == before
    assert (after[2]["exit_by"], after[2]["exit_reason"]) == ("foreign", "foreign")


def test_an_exit_gives_the_strategys_reason(journal: sqlite3.Connection) -> None:
    order = make_order(2, Purpose.EXIT, Side.SELL, intent_id=IntentId("x"))
    payload = '{"type": "exit", "reason": "fast below slow"}'
    write(
        journal,
        order,
        IntentRecord(IntentId("x"), None, TREND, BTC, "exit", payload, NOON, "ordered"),
        make_fill(1),
        make_fill(2, Side.SELL, client_order_id=order.client_order_id),
    )
    (trade,) = rows(journal, "SELECT exit_by, exit_reason FROM v_trades")
    assert trade == {"exit_by": "exit", "exit_reason": "fast below slow"}


@pytest.mark.fault(60)
def test_fees_in_another_coin_are_counted_and_not_added(journal: sqlite3.Connection) -> None:
    write(journal, make_fill(1, fee_currency="BNB"), make_fill(2, Side.SELL, fee=D("0.25")))
    (trade,) = rows(journal, "SELECT fees, fees_in_other_currency FROM v_trades")
    assert trade == {"fees": 0.25, "fees_in_other_currency": 1}


def test_a_fill_is_shown_with_its_order_even_when_the_venue_left_out_our_id(journal: sqlite3.Connection) -> None:
    a_traded_world(journal)
    found = rows(journal, "SELECT trade_id, client_order_id, purpose, strategy FROM v_fills ORDER BY time_ms")
    by_trade = {row["trade_id"]: (row["client_order_id"], row["purpose"], row["strategy"]) for row in found}
    assert by_trade["1"] == ("td-lp1abcdef-1e", "entry", "trend")
    assert by_trade["3"] == ("td-lp1abcdef-2s", "stop", "trend")
    assert by_trade["5"] == (None, None, None)


def test_orders_decisions_and_latency_tell_one_story(journal: sqlite3.Connection) -> None:
    a_traded_world(journal)
    (order,) = rows(journal, "SELECT * FROM v_orders WHERE purpose = 'entry' AND status = 'FILLED'")
    assert (order["slippage_bps"], order["decision"]) == (pytest.approx(10), "d1")
    (decision,) = rows(journal, "SELECT intents, intent_outcomes, notes, outcome FROM v_decisions")
    assert decision == {"intents": 1, "intent_outcomes": "enter:ordered", "notes": "strong", "outcome": "intents"}
    (latency,) = rows(journal, "SELECT * FROM v_latency WHERE client_order_id = 'td-lp1abcdef-1e'")
    assert (latency["decision_to_signed_ms"], latency["signed_to_answer_ms"]) == (3, 5)
    assert (latency["signed_to_fill_ms"], latency["times_in_doubt"], latency["handler_us"]) == (7, 1, 250)


def test_rejections_are_ours_and_the_venues_with_its_raw_code(journal: sqlite3.Connection) -> None:
    a_traded_world(journal)
    found = rows(journal, 'SELECT "by", what, reason, raw_code, detail FROM v_rejections ORDER BY time_ms')
    assert found == [
        {"by": "venue", "what": "entry", "reason": "no margin", "raw_code": "-2019", "detail": "Margin"},
        {"by": "denied", "what": "enter", "reason": "hold_period", "raw_code": None, "detail": "30 s"},
    ]


def test_positions_days_incidents_and_closes(journal: sqlite3.Connection) -> None:
    a_traded_world(journal)
    (position,) = rows(journal, "SELECT symbol, direction, quantity, protection, stop_loss FROM v_positions")
    assert position == {
        "symbol": "ETH/USDT:USDT",
        "direction": "short",
        "quantity": -0.5,
        "protection": "covered",
        "stop_loss": 50000.0,
    }
    before, today = rows(journal, "SELECT * FROM v_daily_pnl ORDER BY day")
    assert (before["day"], before["trades"], before["pnl"]) == ("2023-11-13", 0, 0.0)
    assert (today["day"], today["trades"], today["winners"]) == ("2023-11-14", 1, 0)
    assert today["pnl_fraction"] == pytest.approx(today["pnl"] / 1000)
    (incident,) = rows(journal, "SELECT kind, acknowledged FROM v_incidents")
    assert incident == {"kind": "late_fill", "acknowledged": 0}
    (close,) = rows(journal, "SELECT cause, price FROM v_last_closes")
    assert close == {"cause": "stop", "price": 987.0}


def test_every_view_of_an_empty_journal_is_empty(journal: sqlite3.Connection) -> None:
    assert {name: rows(journal, f"SELECT * FROM {name}") for name in VIEWS} == {name: [] for name in VIEWS}
