"""Faults as a client feels them: a real venue behind a real socket, aiohttp and unmodified ccxt before it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.emulator.helpers import Caller, ccxt_client
from tradingd.emulator.faults.reading import parse_script
from tradingd.emulator.server import VenueServer

SYMBOL = "BTC/USDT:USDT"
ORDER = (SYMBOL, "market", "buy", 0.01, None)


class World:
    """A venue under a script, and clients of it."""

    def __init__(self, caller: Caller, server: VenueServer) -> None:
        self.caller = caller
        self.server = server
        self.client = ccxt_client(server.port, timeout=1_000)
        self.http = aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", timeout=aiohttp.ClientTimeout(total=5))

    @property
    def orders(self) -> int:
        """How many orders the venue took."""
        return len(self.caller.exchange.orders)

    async def order(self) -> Any:
        return await self.client.create_order(*ORDER)

    async def played(self) -> list[str]:
        async with self.http.get("/_venue/faults") as answer:
            return [each["text"] for each in (await answer.json())["played"]]

    async def listen(self) -> aiohttp.ClientWebSocketResponse:
        """The account stream."""
        key = self.caller.call("POST", "/fapi/v1/listenKey", signed=False)["listenKey"]
        return await self.http.ws_connect(f"/private/ws?listenKey={key}", autoping=False)


@asynccontextmanager
async def world(script: str, speed: float = 1.0) -> AsyncIterator[World]:
    caller = Caller()
    server = VenueServer(caller.venue, asyncio.get_running_loop().time, speed, faults=parse_script(script))
    await server.start(0)
    made = World(caller, server)
    try:
        await made.client.load_markets()
        await made.client.load_time_difference()
        yield made
    finally:
        await made.client.close()
        await made.http.close()
        await server.stop()


def rule(text: str) -> str:
    return "\n[[rule]]\n" + text.replace("; ", "\n")


@pytest.mark.fault(1, 2)
@pytest.mark.parametrize(
    ("text", "error", "orders"),
    [
        ('do = "lose_request"; on = "create"', "RequestTimeout", 0),
        ('do = "reset_before"; on = "create"', "NetworkError", 0),
        ('do = "lose_reply"; on = "create"', "RequestTimeout", 1),
        ('do = "reset_after"; on = "create"', "NetworkError", 1),
        ('do = "cut_body"; on = "create"', "BaseError", 1),
        ('do = "cut_body"; on = "create"; at_byte = 0', "BaseError", 1),
        ('do = "empty_body"; on = "create"', None, 1),
        ('do = "html_body"; on = "create"', None, 1),
        ('do = "truncate_body"; on = "create"; at_byte = 9', None, 1),
        ('do = "answer"; reply = "backend_timeout"; executed = true; on = "create"', "RequestTimeout", 1),
        ('do = "answer"; reply = "overloaded"; on = "create"', "BaseError", 0),
        ('do = "answer"; reply = "unavailable"; on = "create"', "ExchangeNotAvailable", 0),
        ('do = "answer"; reply = "waf"; on = "create"', "ExchangeNotAvailable", 0),
        ('do = "answer"; reply = "rate_limited"; on = "create"', "DDoSProtection", 0),
        ('do = "ban"; for_s = 60; on = "create"', "DDoSProtection", 0),
        ('do = "arrive_late"; delay_ms = 300; on = "create"', None, 1),
        ('do = "reply_late"; delay_ms = 1500; on = "create"', "RequestTimeout", 1),
    ],
)
async def test_ccxt_feels_what_befalls_an_order_and_the_venue_knows_better(
    text: str, error: str | None, orders: int
) -> None:
    import ccxt

    async with world(rule(text)) as venue:
        if error is None:
            await asyncio.wait_for(_whatever(venue.order()), 5)
        else:
            with pytest.raises(getattr(ccxt, error)):
                await venue.order()
        assert venue.orders == orders
        assert len(await venue.played()) == 1


async def _whatever(work: Any) -> None:
    """ccxt raises, or returns what no order looks like, for a body that is none."""
    import ccxt

    try:
        await work
    except (ccxt.BaseError, AttributeError, TypeError):
        return


@pytest.mark.fault(4)
async def test_an_order_that_arrives_beyond_its_receive_window_is_refused() -> None:
    import ccxt

    async with world(rule('do = "arrive_late"; delay_ms = 700; on = "create"')) as venue:
        with pytest.raises(ccxt.InvalidNonce):
            await venue.client.create_order(*ORDER, {"recvWindow": 500})
        assert venue.orders == 0


async def test_reads_of_the_past_disagree_with_those_of_the_present() -> None:
    async with world(rule('do = "read_lag"; on = "positions"; lag_ms = 60000')) as venue:
        await venue.order()
        assert await venue.client.fetch_positions([SYMBOL]) == []
        rows = await venue.client.fapiPrivateV3GetAccount()
        assert [row["positionAmt"] for row in rows["positions"]] == ["0.01"]


@pytest.mark.fault(32)
async def test_an_accepted_order_ends_without_a_fill() -> None:
    async with world(rule('do = "end_order"; delay_ms = 100; on = "create"')) as venue:
        stream = await venue.listen()
        order = await venue.order()
        assert order["status"] == "open"
        states = [(await _event(stream, "ORDER_TRADE_UPDATE"))["o"]["X"] for _ in range(2)]
        assert states == ["NEW", "EXPIRED"]
        assert not venue.caller.exchange.fills


async def _event(stream: aiohttp.ClientWebSocketResponse, kind: str, timeout_s: float = 5.0) -> dict[str, Any]:
    async with asyncio.timeout(timeout_s):
        while True:
            message = await stream.receive()
            assert message.type is aiohttp.WSMsgType.TEXT, message
            event: dict[str, Any] = json.loads(message.data)
            if event.get("e") == kind:
                return event


async def test_a_muted_stream_answers_pings_and_says_nothing() -> None:
    async with world(rule('do = "mute"; stream = "account"; for_s = 60; on = "create"')) as venue:
        stream = await venue.listen()
        await venue.order()
        await stream.ping(b"?")
        message = await stream.receive(timeout=2)
        assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"?")
        with pytest.raises(TimeoutError):
            await stream.receive(timeout=0.5)
        assert venue.orders == 1


async def test_a_half_open_stream_answers_nothing_and_ends_by_a_reset() -> None:
    async with world(rule('do = "half_open"; for_s = 1; on = "create"')) as venue:
        stream = await venue.listen()
        await venue.order()
        began = time.monotonic()
        await stream.ping(b"?")
        message = await stream.receive(timeout=5)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert time.monotonic() - began > 0.8


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_streams_are_cut_and_refused(how: str) -> None:
    script = rule(f'do = "cut_streams"; how = "{how}"; on = "create"') + rule(
        'do = "refuse_streams"; for_s = 0.5; on = "create"'
    )
    async with world(script) as venue:
        stream = await venue.listen()
        await venue.order()
        message = await stream.receive(timeout=2)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        with pytest.raises(aiohttp.ClientError):
            await venue.listen()
        await asyncio.sleep(0.6)
        assert not (await venue.listen()).closed


async def test_pushes_are_repeated_and_lost() -> None:
    script = rule('do = "lose_push"; push = "account"') + rule('do = "repeat_push"; push = "fill"')
    async with world(script) as venue:
        stream = await venue.listen()
        await venue.order()
        seen = [(await stream.receive(timeout=2)).data for _ in range(5)]
        kinds = [json.loads(text)["e"] for text in seen]
        assert kinds == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "TRADE_LITE", "ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE"]
        assert seen[1] == seen[2] and seen[3] == seen[4]


async def test_an_expired_listen_key_is_told_and_the_stream_falls_silent() -> None:
    async with world(rule('do = "expire_listen_key"; on = "time"; nth = 3')) as venue:
        stream = await venue.listen()
        await venue.client.fetch_time()
        await venue.client.fetch_time()
        await _event(stream, "listenKeyExpired")
        await venue.order()
        with pytest.raises(TimeoutError):
            await stream.receive(timeout=0.5)


async def test_a_clock_that_is_off_refuses_what_is_signed_with_the_right_one() -> None:
    import ccxt

    async with world(rule('do = "shift_clock"; offset_ms = -5000; for_s = 1; on = "create"; nth = 1')) as venue:
        await venue.order()
        with pytest.raises(ccxt.InvalidNonce):
            await venue.order()
        await venue.client.load_time_difference()
        await venue.order()
        await asyncio.sleep(1.1)
        await venue.client.load_time_difference()
        await venue.order()
        assert venue.orders == 3
        assert (await venue.played())[-1] == "set its clock right"


async def test_what_venue_and_humans_do_is_pushed_and_booked() -> None:
    script = "".join(
        rule(f'do = "{do}"; on = "time"; nth = {nth}')
        for nth, do in enumerate(
            (
                'human"; symbol = "BTCUSDT"; act = "open"; quantity = 0.02; side = "sell',
                'human"; symbol = "BTCUSDT"; act = "flip',
                'charge_funding"; symbol = "BTCUSDT"; rate_fraction = 0.01; name = "f',
                'deleverage"; symbol = "BTCUSDT',
                'human"; symbol = "BTCUSDT"; act = "close',
                'change_filters"; symbol = "BTCUSDT"; min_notional_usdt = 5000; lot_size = 0.01; name = "c',
            ),
            start=2,
        )
    )
    async with world(script) as venue:
        held = []
        for _ in range(6):
            await venue.client.fetch_time()
            held.append(str(venue.caller.exchange.account.positions["BTCUSDT"].quantity))
        assert [float(each) for each in held] == [-0.02, 0.02, 0.02, 0, 0, 0]
        assert await venue.played() == [
            "sold 0.020 BTCUSDT by hand, to open",
            "bought 0.040 BTCUSDT by hand, to flip",
            "charged funding of 0.01 on 0.020 BTCUSDT",
            "deleveraged 0.020 BTCUSDT",
            "had nothing of BTCUSDT to close by hand",
            "changed the filters of BTCUSDT: lot_size 0.001 to 0.010, min_notional_usdt 50 to 5000",
        ]
        kinds = {row[3] for row in venue.caller.exchange.ledger.income(None, None, 0, 1 << 60, 100)}
        assert "FUNDING_FEE" in kinds
        ids = [fill.client_order_id for fill in venue.caller.exchange.fills]
        assert ids[0].startswith("web_") and "adl_autoclose" in ids
        (filters,) = [
            row["filters"]
            for row in venue.caller.call("GET", "/fapi/v1/exchangeInfo", signed=False)["symbols"]
            if row["symbol"] == "BTCUSDT"
        ]
        assert next(Decimal(f["stepSize"]) for f in filters if f["filterType"] == "LOT_SIZE") == Decimal("0.01")
        assert next(f["notional"] for f in filters if f["filterType"] == "MIN_NOTIONAL") == "5000"


@pytest.mark.fault(44, 48)
async def test_stops_expire_and_positions_are_liquidated() -> None:
    script = rule('do = "expire_conditionals"; on = "time"; nth = 2') + rule(
        'do = "liquidate"; symbol = "BTCUSDT"; on = "time"; nth = 3'
    )
    async with world(script) as venue:
        await venue.order()
        stop = {"closePosition": True, "stopLossPrice": 50_000}
        await venue.client.create_order(SYMBOL, "market", "sell", None, None, stop)
        await venue.client.fetch_time()
        assert venue.caller.exchange.triggers.count_waiting() == 0
        await venue.client.fetch_time()
        assert not venue.caller.exchange.account.positions["BTCUSDT"].quantity
        assert any(fill.client_order_id.startswith("autoclose-") for fill in venue.caller.exchange.fills)
        assert (await venue.played()) == ["let 1 conditional orders expire", "liquidated 0.010 BTCUSDT"]


async def test_the_admin_face_replaces_a_script_and_ends_what_it_left() -> None:
    async with world(rule('do = "shift_clock"; offset_ms = 9000') + rule('do = "lose_reply"; on = "create"')) as venue:
        async with venue.http.post("/_venue/faults", data='[[rule]]\ndo = "lose_repl"') as answer:
            assert answer.status == 400 and "nearest: lose_reply" in (await answer.json())["error"]
        async with venue.http.post("/_venue/faults", data="") as answer:
            assert await answer.json() == {"seed": 1, "rules": 0, "elapsed_s": 0.0, "played": []}
        await venue.client.load_time_difference()
        await venue.order()
        assert abs((await venue.client.fetch_time()) - venue.caller.now_ms) < 1_000
