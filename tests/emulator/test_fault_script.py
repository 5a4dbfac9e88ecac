"""What a script decides, without sockets: where, when, how often, and the same again for the same seed."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.emulator.fault_scripts import scripts
from tests.emulator.helpers import START_MS, Caller
from tradingd.config.resources import faults_path
from tradingd.emulator.binance import meaning
from tradingd.emulator.core.records import ZERO
from tradingd.emulator.faults.language import Script
from tradingd.emulator.faults.reading import parse_script
from tradingd.emulator.faults.script import Fate, FaultScript, PushFate
from tradingd.emulator.faults.spoil import needs_venue, spoil
from tradingd.emulator.wire import HttpRequest, HttpResponse

FAULTS = faults_path()
CREATE = HttpRequest("POST", "/fapi/v1/order", body=b"symbol=BTCUSDT&side=BUY")
CANCEL = HttpRequest("DELETE", "/fapi/v1/algoOrder", "symbol=ETHUSDT&algoId=1")
FILL = json.dumps({"stream": "k", "data": {"e": "ORDER_TRADE_UPDATE", "o": {"s": "BTCUSDT", "x": "TRADE"}}})
CANDLE = json.dumps({"e": "kline", "s": "ETHUSDT", "k": {}})


def playing(rule: str, seed: int = 1, scale: float = 1.0) -> FaultScript:
    faults = FaultScript(parse_script(f"seed = {seed}\n[[rule]]\n{rule}\n"), meaning, START_MS)
    faults.set_time_scale(scale)
    return faults


def fates(faults: FaultScript, count: int, request: HttpRequest = CREATE) -> str:
    """One letter per request: x where a fault befell it."""
    return "".join("x" if faults.request(START_MS + i, request).kind else "." for i in range(count))


def test_a_rule_fires_at_the_nth_match_or_at_every_nth_or_so_many_times() -> None:
    assert fates(playing('do = "lose_reply"\nnth = 3'), 6) == "..x..."
    assert fates(playing('do = "lose_reply"\nevery = 2'), 6) == ".x.x.x"
    assert fates(playing('do = "lose_reply"\nevery = 2\ntimes = 2'), 8) == ".x.x...."
    assert fates(playing('do = "lose_reply"\nchance = 0'), 6) == "......"


def test_chance_is_the_seed_s_and_as_large_as_it_says() -> None:
    rule = 'do = "lose_reply"\nchance = 0.25'
    first = fates(playing(rule), 4000)
    assert first == fates(playing(rule), 4000)
    assert first != fates(playing(rule, seed=2), 4000)
    assert 900 < first.count("x") < 1100


def test_a_rule_more_changes_nothing_about_the_chance_of_the_others() -> None:
    rule = '[[rule]]\ndo = "lose_reply"\nchance = 0.3\non = "create"\n'
    alone = FaultScript(parse_script(rule), meaning, START_MS)
    more = FaultScript(parse_script(rule + '[[rule]]\ndo = "reset_after"\nchance = 0.3\n'), meaning, START_MS)
    lost = [more.request(START_MS + i, CREATE).kind == "lose_reply" for i in range(500)]
    assert fates(alone, 500) == "".join("x" if each else "." for each in lost)


def test_where_is_a_purpose_an_endpoint_a_symbol() -> None:
    assert playing('do = "lose_reply"\non = "cancel_conditional"').request(START_MS, CANCEL).kind == "lose_reply"
    assert not playing('do = "lose_reply"\non = "cancel_conditional"').request(START_MS, CREATE).kind
    assert playing('do = "lose_reply"\non = "POST /fapi/v1/order"').request(START_MS, CREATE).kind
    assert playing('do = "lose_reply"\nsymbol = "BTCUSDT"').request(START_MS, CREATE).kind
    assert not playing('do = "lose_reply"\nsymbol = "BTCUSDT"').request(START_MS, CANCEL).kind


def test_times_are_real_whatever_the_speed() -> None:
    faults = playing('do = "lose_reply"\nafter_s = 2\nbefore_s = 4', scale=60.0)
    hits = [second for second in range(8) if faults.request(START_MS + second * 60_000, CREATE).kind]
    assert hits == [2, 3]


def test_since_and_until_are_venue_time() -> None:
    faults = FaultScript(
        parse_script('[[rule]]\ndo = "lose_reply"\nsince = 2026-11-22T10:00:00Z\nuntil = 2026-11-22T11:00:00+00:30'),
        meaning,
    )
    ten_ms = 1_795_341_600_000
    assert [bool(faults.request(ten_ms + ms, CREATE).kind) for ms in (-1, 0, 1_799_999, 1_800_000)] == [
        False,
        True,
        True,
        False,
    ]


def test_the_clock_sets_off_what_streams_and_the_venue_do() -> None:
    faults = playing('do = "cut_streams"\nafter_s = 1\nevery_s = 2\nbefore_s = 6', scale=10.0)
    assert faults.due(START_MS) == [] and faults.next_due_ms() == START_MS + 10_000
    plays = [(ms, play.kind) for ms in range(0, 100_001, 5_000) for play in faults.due(START_MS + ms)]
    assert plays == [(10_000, "cut_streams"), (30_000, "cut_streams"), (50_000, "cut_streams")]


def test_what_streams_do_comes_on_top_of_what_befalls_the_request() -> None:
    faults = FaultScript(
        parse_script(
            '[[rule]]\ndo = "mute"\nfor_s = 3\non = "create"\n[[rule]]\ndo = "lose_reply"\n'
            '[[rule]]\ndo = "reset_after"\n'
        ),
        meaning,
        START_MS,
    )
    fate = faults.request(START_MS, CREATE)
    assert fate.kind == "lose_reply" and [play.kind for play in fate.then] == ["mute"]
    assert [played.text for played in faults.played] == ["lost the reply to POST /fapi/v1/order"]


def test_a_ban_answers_everything_until_it_ends() -> None:
    faults = playing('do = "ban"\nfor_s = 10\nnth = 2', scale=6.0)
    seen = [faults.request(START_MS + ms, CREATE) for ms in (0, 1, 2, 60_000, 60_001)]
    assert [fate.kind for fate in seen] == ["", "ban", "ban", "ban", ""]
    spoilt = spoil(seen[1], None, 9_100.0)
    assert spoilt.response is not None and spoilt.response.status == 418
    assert spoilt.response.headers["Retry-After"] == "10"
    assert f"banned until {START_MS + 60_001}" in spoilt.response.body.decode()


def test_pushes_are_lost_repeated_or_overtaken_by_their_kind_and_symbol() -> None:
    assert playing('do = "lose_push"\npush = "fill"').push(START_MS, FILL) == PushFate(0)
    assert playing('do = "lose_push"\npush = "fill"').push(START_MS, CANDLE) == PushFate()
    assert playing('do = "repeat_push"\ncount = 2\nsymbol = "ETHUSDT"').push(START_MS, CANDLE) == PushFate(3)
    assert playing('do = "delay_push"\ndelay_ms = 40\npush = "any"').push(START_MS, "no json") == PushFate(1, 40)


def test_dials_are_refused_for_a_while_and_only_those_of_the_stream() -> None:
    faults = playing('do = "refuse_streams"\nstream = "account"\nfor_s = 5')
    assert faults.due(START_MS) == []
    assert faults.refuses_dial(START_MS, "/private/ws", "listenKey=a")
    assert not faults.refuses_dial(START_MS, "/market/stream", "")
    assert not faults.refuses_dial(START_MS + 5_000, "/private/ws", "")


def test_bodies_are_cut_truncated_emptied_or_replaced() -> None:
    response = HttpResponse(200, b'{"orderId":1}', {"Content-Type": "application/json"})

    def spoilt(rule: str) -> Any:
        return spoil(playing(rule).request(START_MS, CREATE), response)

    cut = spoilt('do = "cut_body"\nat_byte = 5')
    assert cut.sent == 5 and cut.response == response
    assert spoilt('do = "cut_body"\nat_byte = 500').sent == len(response.body) - 1
    assert spoilt('do = "truncate_body"\nat_byte = 5').response.body == b'{"ord'
    assert spoilt('do = "empty_body"').response.body == b""
    assert spoilt('do = "html_body"').response.headers["Content-Type"] == "text/html"
    assert spoilt('do = "answer"\nreply = "waf"').response.status == 403
    assert spoilt('do = "answer"\nreply = "unavailable"').response.body == b"Service Unavailable."
    told = spoilt('do = "answer"\nstatus = 429\ncode = -1003\ntext = "slow down"\nretry_after_s = 7').response
    assert json.loads(told.body) == {"code": -1003, "msg": "slow down"} and told.headers["Retry-After"] == "7"


# -- the venue under any script --------------------------------------------------------------------------------------


class Driven(Caller):
    """A venue without sockets under a script, as the server plays it."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.faults = FaultScript(script, meaning, START_MS)

    def pass_time(self, ms: int) -> None:
        for _, frame in self.venue.advance(self.now_ms + ms):
            if isinstance(frame, str):
                self.play(self.faults.push(self.now_ms, frame).then)
        self.play(self.faults.due(self.now_ms))

    def play(self, plays: Any) -> None:
        for play in plays:
            if play.kind not in ("mute", "half_open", "cut_streams"):
                self.faults.tell(self.now_ms, play, self.venue.act(play.kind, play.values))

    def ask(self, request: HttpRequest) -> Fate:
        fate = self.faults.request(self.now_ms, request)
        if fate.kind == "arrive_late":
            self.pass_time(fate.delay_ms)
        response = None
        if needs_venue(fate):
            end_ms = fate.delay_ms if fate.kind == "end_order" else None
            response = self.venue.handle(request, fate.lag_ms, end_ms)
        self.play(fate.then)
        spoil(fate, response, 1000.0)
        return fate

    def signed(self, method: str, path: str, **params: Any) -> HttpRequest:
        """A request as `call` sends it."""
        sent: list[HttpRequest] = []
        venue, self.venue = self.venue, _Recorder(sent, self.venue)  # type: ignore[assignment]
        try:
            self.call(method, path, **params)
        finally:
            self.venue = venue
        return sent[0]


class _Recorder:
    """Takes a request instead of the venue."""

    def __init__(self, sent: list[HttpRequest], venue: Any) -> None:
        self._sent = sent
        self.now_ms = venue.now_ms

    def handle(self, request: HttpRequest) -> HttpResponse:
        self._sent.append(request)
        return HttpResponse(200, b"{}")


REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/fapi/v1/order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}),
    ("POST", "/fapi/v1/order", {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.02"}),
    (
        "POST",
        "/fapi/v1/order",
        {"symbol": "ETHUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.5", "newOrderRespType": "RESULT"},
    ),
    (
        "POST",
        "/fapi/v1/order",
        {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "type": "LIMIT",
            "quantity": "0.01",
            "price": "60000",
            "timeInForce": "GTC",
        },
    ),
    (
        "POST",
        "/fapi/v1/algoOrder",
        {
            "symbol": "BTCUSDT",
            "side": "SELL",
            "algoType": "CONDITIONAL",
            "type": "STOP_MARKET",
            "triggerPrice": "50000",
            "closePosition": "true",
        },
    ),
    ("DELETE", "/fapi/v1/allOpenOrders", {"symbol": "BTCUSDT"}),
    ("GET", "/fapi/v3/positionRisk", {}),
    ("GET", "/fapi/v3/balance", {}),
    ("GET", "/fapi/v1/openOrders", {}),
    ("GET", "/fapi/v1/openAlgoOrders", {}),
    ("GET", "/fapi/v1/userTrades", {"symbol": "BTCUSDT"}),
]


def check_books(venue: Caller) -> None:
    """The ledger's fills make its positions, its bookings its wallet, and nothing was filled beyond its order."""
    exchange, ledger = venue.exchange, venue.exchange.ledger
    sums = dict.fromkeys(exchange.instruments, ZERO)
    filled: dict[int, Decimal] = {}
    for fill in ledger.fills():
        sums[fill.symbol] += fill.quantity * fill.side
        filled[fill.order_id] = filled.get(fill.order_id, ZERO) + fill.quantity
    for symbol, position in exchange.account.positions.items():
        assert position.quantity == sums[symbol], symbol
    stored = {position.symbol: position.quantity for position in ledger.positions()}
    assert all(stored.get(symbol, ZERO) == quantity for symbol, quantity in sums.items())
    for order in ledger.orders():
        assert filled.pop(order.order_id, ZERO) == order.filled <= order.quantity
        assert order.is_open == (order.order_id in exchange.open_orders[order.symbol])
    assert not filled
    booked = sum((Decimal(row[4]) for row in ledger.income(None, None, 0, 1 << 60, 10_000)), ZERO)
    assert exchange.account.wallet == Decimal(10_000) + booked


@settings(max_examples=40, deadline=None)
@given(scripts(soon=True), st.lists(st.tuples(st.sampled_from(REQUESTS), st.integers(0, 3_000)), max_size=25))
def test_the_venue_s_books_stay_true_under_any_script(
    script: Script, asked: list[tuple[tuple[str, str, dict[str, Any]], int]]
) -> None:
    venue = Driven(script)
    for (method, path, params), wait_ms in asked:
        venue.pass_time(wait_ms)
        venue.ask(venue.signed(method, path, **params))
    venue.pass_time(60_000)
    check_books(venue)


def test_the_same_script_and_requests_play_the_same_faults() -> None:
    def play() -> list[tuple[int, str]]:
        venue = Driven(parse_script((FAULTS / "bad_day.toml").read_text()))
        for number in range(200):
            venue.pass_time(150)
            method, path, params = REQUESTS[number % len(REQUESTS)]
            venue.ask(venue.signed(method, path, **params))
        return [(played.at_ms, played.text) for played in venue.faults.played]

    first = play()
    assert len(first) > 20
    assert play() == first
