"""Subscriptions, pushes, and the ends of connections, over real websockets."""

import asyncio
import json
import time
from decimal import Decimal
from typing import Any

import pytest

from tests.venues.bench import Bench, mark, request, send, shown, stop
from tests.venues.doubles import BINANCE_ID, BTC, until
from tests.venues.faulty_proxy import answer, gone
from tradingd.domain.account import VenueOrder
from tradingd.domain.candles import Candle
from tradingd.domain.errors import VenueBanned, VenueError, VenueUnreachable
from tradingd.domain.orders import OrderKind, OrderStatus
from tradingd.ports import Priority, StreamKey
from tradingd.venues.ccxt_venue import CcxtVenue

CANDLES = StreamKey(BINANCE_ID, "candles", BTC.symbol, "1m")
ACCOUNT = StreamKey(BINANCE_ID, "account")
MARKET, PRIVATE = "/market/ws", "/private/ws"


def kline(bench: Bench, *, closed: bool = False, **changes: Any) -> str:
    """A candle frame as the venue's page shows it."""
    k = {"t": 1_790_000_040_000, "T": 1_790_000_099_999, "s": "BTCUSDT", "i": "1m", "o": "1.10", "c": "2.20",
         "h": "3.30", "l": "0.40", "v": "5.50", "x": closed}  # fmt: skip
    return json.dumps({"e": "kline", "E": 1_790_000_099_000, "s": "BTCUSDT", "k": k | changes})


async def test_candles_and_account_have_a_connection_each(bench: Bench) -> None:
    venue = await bench.open()
    await asyncio.gather(venue.watch(CANDLES), venue.watch(ACCOUNT))
    assert sorted(path for path, _ in bench.proxy.websockets) == ["/market/ws/0", "/private/ws"]


async def test_a_subscription_that_stands_is_not_sent_again(bench: Bench) -> None:
    venue = await bench.open()
    await asyncio.gather(*(venue.watch(key) for key in (CANDLES, CANDLES, ACCOUNT, ACCOUNT)))
    asked = len(bench.budget.acquired)
    await venue.watch(CANDLES)
    await venue.watch(ACCOUNT)
    assert len(bench.budget.acquired) == asked
    assert bench.proxy.names().count("POST /fapi/v1/listenKey") == 1


async def test_a_candle_keeps_the_venues_own_digits_and_closed_flag(bench: Bench) -> None:
    venue = await bench.open()
    await venue.watch(CANDLES)
    bench.proxy.inject(MARKET, kline(bench))
    bench.proxy.inject(MARKET, kline(bench, closed=True))
    is_ours = lambda candle: candle.open_time_ms == 1_790_000_040_000 and candle.closed  # noqa: E731
    closed = await bench.sink.wait_for("candle", match=is_ours)
    assert closed == Candle(BTC, "1m", 1_790_000_040_000, Decimal("1.10"), Decimal("3.30"), Decimal("0.40"),
                            Decimal("2.20"), Decimal("5.50"))  # fmt: skip
    assert any(not candle.closed for candle in bench.sink.all("candle"))
    assert "candles" in bench.sink.all("alive")


async def test_the_built_in_venues_own_candles_arrive(bench: Bench) -> None:
    venue = await bench.open()
    await venue.watch(CANDLES)
    candle = await bench.sink.wait_for("candle")
    assert candle.instrument == BTC and candle.low <= candle.close <= candle.high


async def test_a_market_order_is_told_by_fills_then_orders_then_balance_and_position(bench: Bench) -> None:
    venue = await bench.open()
    await venue.watch(ACCOUNT)
    await send(bench, venue, request())
    filled = await bench.sink.wait_for("order", match=lambda order: order.status is OrderStatus.FILLED)
    assert filled.client_order_id == "td-abcdefgh1-1e" and not filled.is_child
    fills = bench.sink.all("fill")
    assert sum(fill.quantity for fill in fills) == Decimal("0.010") and all(fill.fee > 0 for fill in fills)
    names = [name for name, _ in bench.sink.events if name in ("fill", "order")]
    assert names[-2:] == ["fill", "order"], "the fill comes before the order update that carries it"
    assert (await bench.sink.wait_for("position")).quantity == Decimal("0.01")
    balance = await bench.sink.wait_for("balance")
    assert balance.available is None and balance.equity is None and balance.wallet < 10_000

    async def all_listed() -> bool:
        listed = await venue.fills(BTC, 0, Priority.RECONCILE)
        return {(fill.trade_id, fill.client_order_id) for fill in listed} == {
            (fill.trade_id, "td-abcdefgh1-1e") for fill in fills
        }

    await until(all_listed)


class TestTriggered:
    """At sixty times real time, so that the market gets somewhere."""

    @pytest.fixture
    def speed(self) -> float:
        return 60.0

    async def test_a_triggered_stop_is_followed_to_its_child(self, bench: Bench) -> None:
        venue = await bench.open(window_scale=60.0)
        await venue.watch(ACCOUNT)
        await send(bench, venue, request())
        guards = [
            stop(2, await mark(venue, "0.9996")),
            stop(3, await mark(venue, "1.0004"), kind=OrderKind.TAKE_PROFIT_MARKET),
        ]
        for guard in guards:
            await send(bench, venue, guard)
        fired = await bench.sink.wait_for("order", timeout_s=20, match=lambda o: o.child_venue_order_id is not None)
        assert (fired.book, fired.status) == ("algo", OrderStatus.TRIGGERED)
        guard = next(guard for guard in guards if guard.client_order_id == fired.client_order_id)
        child = await bench.sink.wait_for("order", match=lambda o: o.is_child and o.status is OrderStatus.FILLED)
        assert child.venue_order_id == fired.child_venue_order_id and child.book == "plain"
        fills = [fill for fill in bench.sink.all("fill") if fill.venue_order_id == child.venue_order_id]
        assert sum(fill.quantity for fill in fills) == Decimal("0.010")

        async def followed() -> VenueOrder | None:
            found = await shown(venue, guard)
            return found if found.status is OrderStatus.FILLED else None

        found = await until(followed)
        assert (found.book, found.filled_quantity) == ("algo", Decimal("0.010"))
        assert found.child_venue_order_id == child.venue_order_id and not found.is_child
        assert venue.limits.receive_window_ms == 180_000


@pytest.mark.fault(15)
async def test_a_broken_connection_is_told_once_and_can_be_watched_again(bench: Bench) -> None:
    venue = await bench.open()
    await venue.watch(CANDLES)
    await venue.watch(ACCOUNT)
    for path, key in ((MARKET, CANDLES), (PRIVATE, ACCOUNT)):
        bench.sink.events.clear()
        bench.proxy.drop(path)
        kind, reason = await bench.sink.wait_for("disconnect")
        assert kind == key.kind and reason
        await asyncio.sleep(0.1)
        assert len(bench.sink.all("disconnect")) == 1
        await venue.watch(key)
    bench.sink.events.clear()
    bench.proxy.inject(MARKET, kline(bench, closed=True))
    await bench.sink.wait_for("candle", match=lambda candle: candle.open_time_ms == 1_790_000_040_000)
    await send(bench, venue, request())
    await bench.sink.wait_for("fill")


async def test_a_reconnect_survives_the_late_second_end_of_the_old_connection(bench: Bench) -> None:
    venue = await bench.open()
    await venue.watch(CANDLES)
    client = next(iter(venue._exchange.clients.values()))
    client.on_close(1001)  # as ccxt itself does on a peer's close frame, and once more when the socket is gone
    await venue.watch(CANDLES)
    client.on_close(1006)
    await venue.watch(StreamKey(BINANCE_ID, "candles", BTC.symbol, "5m"))
    assert len(bench.proxy.websockets) == 2, "the successor was dropped"
    bench.sink.events.clear()
    bench.proxy.inject(MARKET, kline(bench))
    await bench.sink.wait_for("candle")
    assert bench.sink.all("disconnect") == []


async def test_a_reset_wakes_nobody_with_a_cancellation(bench: Bench) -> None:
    venue = await bench.open()
    await venue.watch(ACCOUNT)
    await venue.reset_stream("account", "stale")
    kind, reason = await bench.sink.wait_for("disconnect")
    assert (kind, reason) == ("account", "stale")
    await venue.watch(ACCOUNT)


async def test_a_frame_that_cannot_be_understood_costs_only_itself(bench: Bench) -> None:
    venue = await bench.open()
    await venue.watch(CANDLES)
    await venue.watch(ACCOUNT)
    bench.proxy.inject(MARKET, kline(bench, o="rubbish"))
    bench.proxy.inject(PRIVATE, '{"e":"ORDER_TRADE_UPDATE","E":1,"T":1,"o":{"s":"BTCUSDT"}}')
    await bench.sink.wait_for("bad_frame", 2)
    assert sorted(bench.sink.bad_streams) == ["account", "candles"]
    bench.proxy.inject(MARKET, kline(bench, t=1_790_000_100_000))
    await bench.sink.wait_for("candle", match=lambda candle: candle.open_time_ms == 1_790_000_100_000)
    assert bench.sink.all("disconnect") == []


async def test_a_listener_that_raises_costs_only_that_frame(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    venue = await bench.open()
    await venue.watch(CANDLES)

    def explode(candle: Candle) -> None:
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as patch:
        patch.setattr(bench.sink, "on_candle", explode)
        bench.proxy.inject(MARKET, kline(bench))
        assert "RuntimeError" in await bench.sink.wait_for("bad_frame")
    bench.proxy.inject(MARKET, kline(bench))
    await bench.sink.wait_for("candle")


@pytest.mark.parametrize("garbage", ["{", '{"e":', "not json at all"])
async def test_a_frame_that_is_no_json_ends_in_a_reconnect_not_in_silence(bench: Bench, garbage: str) -> None:
    venue = await bench.open()
    await venue.watch(CANDLES)
    bench.proxy.inject(MARKET, garbage)
    await bench.sink.wait_for("bad_frame")
    if bench.sink.all("disconnect"):
        await venue.watch(CANDLES)
    bench.proxy.inject(MARKET, kline(bench))
    await bench.sink.wait_for("candle")


@pytest.mark.fault(17)
async def test_a_mute_connection_is_given_up_after_two_pings(bench: Bench) -> None:
    assert bench.build().quirks.ping_interval_ms.value <= 15_000
    venue = await bench.open(ping_interval_ms=100)
    await venue.watch(CANDLES)
    await venue.watch(ACCOUNT)
    bench.proxy.muted = True
    began = time.monotonic()
    await bench.sink.wait_for("disconnect", 2, timeout_s=3)
    assert 0.1 < time.monotonic() - began < 1.5
    assert {kind for kind, _ in bench.sink.all("disconnect")} == {"candles", "account"}


async def test_a_quiet_account_shows_its_life_by_pongs_and_candles_only_by_data(bench: Bench) -> None:
    venue = await bench.open(ping_interval_ms=50)
    await venue.watch(ACCOUNT)
    await bench.sink.wait_for("alive", 3, match=lambda kind: kind == "account")
    await venue.watch(CANDLES)
    bench.sink.events.clear()
    await bench.sink.wait_for("alive", 3, match=lambda kind: kind == "account")
    assert bench.sink.all("alive").count("candles") <= len(bench.sink.all("candle")) + 1


@pytest.mark.parametrize("speed", [600.0])
async def test_pings_run_in_real_time_when_venue_time_runs_faster(bench: Bench, speed: float) -> None:
    venue = await bench.open(ping_interval_ms=100, window_scale=speed)
    await venue.watch(ACCOUNT)
    await asyncio.sleep(0.5)
    assert bench.sink.all("disconnect") == []


@pytest.mark.fault(22)
async def test_an_expired_listen_key_is_replaced(bench: Bench) -> None:
    venue = await bench.open()
    await venue.watch(ACCOUNT)
    bench.proxy.inject(PRIVATE, '{"e":"listenKeyExpired","E":1790000000000,"listenKey":"secret-listen-key"}')
    kind, reason = await bench.sink.wait_for("disconnect")
    assert kind == "account" and "listen key expired" in reason and "secret-listen-key" not in reason
    await venue.watch(ACCOUNT)
    assert bench.proxy.names().count("POST /fapi/v1/listenKey") == 2
    await send(bench, venue, request())
    await bench.sink.wait_for("fill")


async def test_the_listen_key_is_renewed_again_and_again(bench: Bench) -> None:
    bench.clock.longest_sleep_s = 0.01
    venue = await bench.open()
    await venue.watch(ACCOUNT)
    for count in (1, 2, 3):
        bench.clock.offset_ms += 20 * 60_000

        async def renewed(wanted: int = count) -> bool:
            return bench.proxy.names().count("PUT /fapi/v1/listenKey") == wanted

        await until(renewed)
    await venue._exchange.keep_alive_listen_key()  # what ccxt's own timer would do
    await asyncio.sleep(0.05)
    assert bench.proxy.names().count("PUT /fapi/v1/listenKey") == 3
    assert bench.sink.all("disconnect") == []


@pytest.mark.fault(22)
async def test_a_listen_key_that_is_gone_ends_the_account_stream_and_a_failed_renewal_does_not(bench: Bench) -> None:
    bench.clock.longest_sleep_s = 0.01
    venue = await bench.open()
    await venue.watch(ACCOUNT)
    bench.proxy.faults["PUT /fapi/v1/listenKey"] = gone
    bench.clock.offset_ms += 20 * 60_000
    await asyncio.sleep(0.1)
    assert bench.sink.all("disconnect") == []
    bench.proxy.faults["PUT /fapi/v1/listenKey"] = answer(400, '{"code":-1125,"msg":"This listenKey does not exist."}')
    bench.clock.offset_ms += 20 * 60_000
    kind, _ = await bench.sink.wait_for("disconnect")
    assert kind == "account"


async def test_watching_the_account_asks_for_its_key_and_nothing_else(bench: Bench) -> None:
    venue = await bench.open()
    await venue.watch(ACCOUNT)
    await asyncio.sleep(0.05)  # a snapshot would be a task of its own
    assert bench.proxy.names() == ["POST /fapi/v1/listenKey", "GET /private/ws"]


async def test_subscriptions_on_one_connection_are_paced(bench: Bench) -> None:
    venue = await bench.open()
    keys = [StreamKey(BINANCE_ID, "candles", BTC.symbol, frame) for frame in ("1m", "3m", "5m", "15m", "30m", "1h")]
    began = time.monotonic()
    await asyncio.gather(*(venue.watch(key) for key in keys))
    assert 5 * 0.125 - 0.01 <= time.monotonic() - began < 5 * 0.25 - 0.1, "the slower one is ccxt's own pace"
    assert len([path for path, _ in bench.proxy.websockets if path.startswith(MARKET)]) == 1


async def test_a_subscription_without_an_answer_fails_and_can_be_tried_again(bench: Bench) -> None:
    venue = await bench.open(subscribe_timeout_s=0.3)
    bench.proxy.muted = True
    with pytest.raises(VenueUnreachable):
        await venue.watch(CANDLES)
    bench.proxy.muted = False
    await venue.watch(CANDLES)


async def test_a_subscription_that_the_venue_refuses_is_told(bench: Bench) -> None:
    venue = await bench.open()
    with pytest.raises(VenueError):
        await venue.watch(StreamKey(BINANCE_ID, "candles", "NO/USDT:USDT", "1m"))
    with pytest.raises(VenueError):
        await venue.watch(StreamKey(BINANCE_ID, "rumours"))
    bench.proxy.faults["POST /fapi/v1/listenKey"] = answer(401, '{"code":-2015,"msg":"Invalid API-key"}')
    with pytest.raises(VenueError):
        await venue.watch(ACCOUNT)
    bench.proxy.faults.clear()
    await venue.watch(ACCOUNT)


async def test_a_venue_that_is_down_fails_a_watch_quickly_and_without_backoff_of_its_own(bench: Bench) -> None:
    venue = await bench.open()
    bench.proxy.drop(MARKET)
    await bench.proxy.stop()
    began = time.monotonic()
    for _ in range(6):
        with pytest.raises(VenueUnreachable):
            await venue.watch(CANDLES)
    assert time.monotonic() - began < 2


async def test_during_a_ban_nothing_is_dialled(bench: Bench) -> None:
    venue = await bench.open()
    bench.budget.banned = True
    with pytest.raises(VenueBanned):
        await venue.watch(CANDLES)
    assert bench.proxy.websockets == []


async def test_a_ban_that_comes_with_the_streams_key_lets_nothing_be_dialled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue = await bench.open()
    monkeypatch.setattr(bench.budget, "observe", lambda *answer: setattr(bench.budget, "banned", True))
    with pytest.raises(VenueUnreachable):
        await venue.watch(ACCOUNT)
    assert bench.proxy.websockets == []


async def test_closing_leaves_no_task_no_timer_and_no_connection(bench: Bench) -> None:
    before = asyncio.all_tasks()
    venue = await bench.open()
    await venue.watch(CANDLES)
    await venue.watch(ACCOUNT)
    exchange, session = venue._exchange, venue._session
    loop: Any = asyncio.get_running_loop()
    await venue.close()
    await asyncio.sleep(0.1)
    assert session is not None and session.closed and exchange.clients == {}
    ours = {task for task in asyncio.all_tasks() - before if not _belongs_to_the_server(task)}
    assert ours == set()
    assert not [t for t in loop._scheduled if not t.cancelled() and "spawn" in repr(t)], "a timer would revive ccxt"
    assert bench.sink.all("disconnect") == []
    with pytest.raises(VenueUnreachable):
        await venue.watch(CANDLES)


def _belongs_to_the_server(task: asyncio.Task[Any]) -> bool:
    return any(part in repr(task) for part in ("faulty_proxy", "web_protocol", "emulator", "venue-"))


async def test_an_adapter_whose_venue_is_down_at_first_can_be_opened_later(bench: Bench) -> None:
    venue: CcxtVenue = bench.build()
    bench.proxy.faults["GET /fapi/v1/exchangeInfo"] = answer(200, "<html>soon</html>", kind="text/html")
    with pytest.raises(VenueUnreachable):
        await venue.open(bench.sink)
    bench.proxy.faults["GET /fapi/v1/exchangeInfo"] = gone
    with pytest.raises(VenueUnreachable):
        await venue.open(bench.sink)
    bench.proxy.faults.clear()
    await venue.open(bench.sink)
    assert BTC in venue.instruments
