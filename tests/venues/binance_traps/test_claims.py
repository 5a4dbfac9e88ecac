"""What was once claimed of this venue, by number, beside what is so: a bare client shows it, and ours rests on it."""

import asyncio
import re
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any

import ccxt.pro
import pytest

from tests.venues.bench import ORDER, Bench, request, send
from tests.venues.binance_traps.test_error_codes import ENTER, EXIT, is_flat
from tests.venues.binance_traps.test_traps import SYMBOL, bare, stopped_out
from tests.venues.binance_traps.worlds import minute_ms, once, play
from tests.venues.doubles import BTC
from tests.venues.faulty_proxy import answer
from tradingd.domain.account import RejectKind
from tradingd.domain.instruments import InstrumentId
from tradingd.emulator.faults.language import Rule

ETH = InstrumentId.parse("ETH/USDT:USDT@binance")
TRIGGER = {"trigger": True}
ID = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")


async def refusal(call: Awaitable[Any]) -> str:
    with pytest.raises(ccxt.BaseError) as caught:
        await call
    return str(caught.value)


def test_claim_01_the_minimum_notional_is_for_entries_and_never_for_what_reduces() -> None:
    async def shown() -> None:
        async with bare() as (client, _, venue):
            await client.create_order(SYMBOL, "market", "buy", 0.02)
            venue.act("change_filters", {"symbol": "BTCUSDT", "min_notional_usdt": Decimal(1_000_000)})
            assert "-4164" in await refusal(client.create_order(SYMBOL, "market", "buy", 0.01))
            await client.create_order(SYMBOL, "market", "sell", 0.01, None, {"reduceOnly": True})

    asyncio.run(shown())
    dearer = Rule(do="change_filters", since_ms=minute_ms(1) + 5_000, times=1,
                  what=(("min_notional_usdt", Decimal(1_000_000)), ("symbol", "BTCUSDT")))  # fmt: skip
    told = once("dearer", lambda: play(f"1 {ENTER}; 2 {EXIT}", [dearer], 2.5))
    assert "venue: change_filters" in told.played and is_flat(told)


async def test_claim_02_the_minimum_is_read_for_each_symbol_and_is_no_constant(bench: Bench) -> None:
    venue = await bench.open()
    assert venue.instruments[BTC].min_notional != venue.instruments[ETH].min_notional
    bench.server._model.act("change_filters", {"symbol": "BTCUSDT", "min_notional_usdt": Decimal(77)})
    await venue.load_instruments()
    assert venue.instruments[BTC].min_notional == 77


def test_claim_03_reduce_only_may_be_a_part_and_a_second_close_position_stop_is_refused() -> None:
    async def shown() -> None:
        async with bare() as (client, _, venue):
            price = float(venue._desk.exchange.last_price("BTCUSDT"))
            await client.create_order(SYMBOL, "market", "buy", 0.02)
            await client.create_order(SYMBOL, "market", "sell", 0.005, None, {"reduceOnly": True})
            assert (await client.fetch_positions([SYMBOL]))[0]["contracts"] == 0.015
            close = {"closePosition": True, "stopLossPrice": price * 0.9}
            await client.create_order(SYMBOL, "market", "sell", None, None, close)
            assert "-4130" in await refusal(client.create_order(SYMBOL, "market", "sell", None, None, close))

    asyncio.run(shown())
    stops = [p for p in _sent() if p["type"] == "STOP_MARKET"]
    assert stops and all(p["closePosition"] == "true" and not {"quantity", "reduceOnly"} & set(p) for p in stops)


async def test_claim_04_the_code_tells_a_notional_from_a_balance(bench: Bench) -> None:
    venue = await bench.open()
    small = await send(bench, venue, request(1, quantity=Decimal("0.0001")))
    large = await send(bench, venue, request(2, quantity=Decimal(50)))
    assert (small.kind, large.kind, large.code) == (RejectKind.FILTER, RejectKind.MARGIN, "-2019")


def test_claim_05_a_market_entry_is_measured_by_the_price_of_the_market() -> None:
    (intent,) = once("tiny", lambda: play("1 buy 0.02 0.02", [], 1.2, notional="20")).intents
    assert intent["outcome"] == "denied" and intent["reason"] != "no_price"


def test_claim_06_stops_are_in_a_list_of_their_own_and_survive_what_does_not_name_it() -> None:
    async def shown() -> None:
        async with bare() as (client, _, venue):
            price = float(venue._desk.exchange.last_price("BTCUSDT"))
            await client.create_order(SYMBOL, "market", "buy", 0.01)
            stop = await client.create_order(SYMBOL, "market", "sell", 0.01, None,
                                             {"stopLossPrice": price * 0.9, "reduceOnly": True})  # fmt: skip
            await client.create_order(SYMBOL, "market", "sell", 0.01, None, {"reduceOnly": True})
            assert await client.fetch_open_orders(SYMBOL) == []
            assert "-2011" in await refusal(client.cancel_order(stop["id"], SYMBOL))
            await client.cancel_all_orders(SYMBOL)
            (left,) = await client.fetch_open_orders(SYMBOL, params=TRIGGER)
            assert (left["type"], left["info"]["orderType"]) == ("market", "STOP_MARKET"), (
                "and it closes the next position"
            )

    asyncio.run(shown())
    told = once("swept", lambda: play(f"1 {ENTER}; 2 {EXIT}", [], 2.5))
    assert len(told.evidence.algos) == 2 and {algo["status"] for algo in told.evidence.algos} == {"CANCELED"}


def test_claim_07_after_a_sweep_both_lists_are_read_again() -> None:
    told = once("swept", lambda: play(f"1 {ENTER}; 2 {EXIT}", [], 2.5))
    last_us = max(each.answered_us or 0 for each in told.requests if each.method == "DELETE")
    later = [each.path for each in told.requests if each.method == "GET" and each.sent_us > last_us]
    assert {"/fapi/v1/openAlgoOrders", "/fapi/v1/openOrders"} <= set(later[:4])


def test_claim_08_the_venue_wants_capitals_and_gets_them() -> None:
    async def shown() -> None:
        async with bare() as (client, _, _venue):
            order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
            assert "-1117" in await refusal(client.fapiPrivatePostOrder({**order, "side": "buy"}))
            assert "-1116" in await refusal(client.fapiPrivatePostOrder({**order, "type": "market"}))

    asyncio.run(shown())
    assert all(p[name] == p[name].upper() for p in _sent() for name in ("side", "type"))


def test_claim_09_ids_are_short_enough_ours_and_journalled_before_they_leave() -> None:
    async def shown() -> None:
        async with bare() as (client, _, _venue):
            long = {"clientOrderId": "nql-default-BTC/USDT:USDT-0123456789ab"}
            text = await refusal(client.create_order(SYMBOL, "market", "buy", 0.01, None, long))
            assert "-4015" in text or "-1100" in text

    asyncio.run(shown())
    told = once("stopped out", stopped_out)
    sent = [each for each in told.requests if each.is_create]
    ids = [str(each.client_order_id) for each in sent]
    assert len(set(ids)) == len(ids) >= 3 and all(ID.match(each) and each.startswith("td-") for each in ids)
    assert all(each.journalled for each in sent)


async def test_claim_10_a_number_in_a_text_is_no_ban(bench: Bench) -> None:
    venue = await bench.open()
    body = '{"code":-4014,"msg":"Price 429.418 not increased by tick size; rate limit of nothing."}'
    bench.proxy.faults[ORDER] = answer(400, body)
    outcome = await send(bench, venue, request())
    assert (outcome.kind, outcome.code) == (RejectKind.FILTER, "-4014")
    assert bench.budget.bans == [] and bench.budget.closed == []


def test_claim_11_nothing_is_rejected_in_silence() -> None:
    told = once("tiny", lambda: play("1 buy 0.02 0.02", [], 1.2, notional="20"))
    (row,) = told.rejections
    assert row["by"] == "denied" and row["reason"] and row["detail"]
    # what the venue rejects: test_error_codes, each with code and text


def _sent() -> list[dict[str, str]]:
    return [each.params for each in once("stopped out", stopped_out).requests if each.is_create]
