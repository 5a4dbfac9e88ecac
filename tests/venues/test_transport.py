"""The session, the endpoint, the clocks, and what an import costs."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.venues.bench import Bench
from tests.venues.doubles import MachineClock
from tests.venues.faulty_proxy import executed_then_gone
from tradingd.domain.errors import VenueUnreachable
from tradingd.ports import Priority
from tradingd.venues.binance import BINANCE
from tradingd.venues.clock import ccxt_clock
from tradingd.venues.quirks import Quirk
from tradingd.venues.reply import Reply, redact
from tradingd.venues.transport import check_endpoint, open_session, replace_endpoint


def test_an_endpoint_replaces_scheme_and_host_of_every_url_and_keeps_the_path() -> None:
    urls = {
        "api": {"fapiPublic": "https://fapi.binance.com/fapi/v1", "sapi": "https://api.binance.com/sapi/v1",
                "ws": {"linear": "wss://fstream.binance.com/ws", "spot": "wss://stream.binance.com:9443/ws"}},
        "www": "https://www.binance.com", "list": ["https://a.b/c"], "none": None,
    }  # fmt: skip
    assert replace_endpoint(urls, "http://127.0.0.1:81") == {
        "api": {"fapiPublic": "http://127.0.0.1:81/fapi/v1", "sapi": "http://127.0.0.1:81/sapi/v1",
                "ws": {"linear": "ws://127.0.0.1:81/ws", "spot": "ws://127.0.0.1:81/ws"}},
        "www": "http://127.0.0.1:81", "list": ["http://127.0.0.1:81/c"], "none": None,
    }  # fmt: skip
    secure = replace_endpoint(urls, "https://proxy.example:8443/")
    assert secure["api"]["ws"]["linear"] == "wss://proxy.example:8443/ws"


async def test_no_url_of_the_real_venue_is_left_in_the_client(bench: Bench) -> None:
    venue = await bench.open()
    assert "binance" not in str(venue._exchange.urls["api"]).replace("binance-", "")
    assert venue._exchange.urls["api"]["ws"]["linear"].endswith("/ws")


@pytest.mark.parametrize("endpoint", ["127.0.0.1:80", "ftp://a", "http://", "http://a/path", "http://a?x=1"])
def test_an_endpoint_with_more_than_a_host_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="allowed"):
        check_endpoint(endpoint)


@pytest.mark.fault(26)
async def test_an_idle_connection_is_given_up_before_the_venue_closes_it(bench: Bench) -> None:
    session = open_session(secure=False, keepalive_s=0.05)
    url = f"http://127.0.0.1:{bench.proxy.port}/fapi/v1/ping"
    for pause_s, connections in ((0.0, 1), (0.2, 1), (0.0, 2)):
        async with session.get(url) as response:
            await response.read()
        assert bench.proxy.connections == connections
        await asyncio.sleep(pause_s)
    await session.close()
    assert BINANCE.http_keepalive_s.value < 60


@pytest.mark.fault(26)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_no_request_is_ever_sent_twice(bench: Bench, method: str) -> None:
    session = open_session(secure=False, keepalive_s=5)
    base = f"http://127.0.0.1:{bench.proxy.port}"
    async with session.get(f"{base}/fapi/v1/ping") as response:
        await response.read()  # a connection that is kept, which is when aiohttp would resend
    bench.proxy.faults[f"{method} /fapi/v1/time"] = executed_then_gone
    with pytest.raises(Exception):  # noqa: B017  aiohttp's class does not matter here, the count does
        await session.request(method, f"{base}/fapi/v1/time")
    assert bench.proxy.names().count(f"{method} /fapi/v1/time") == 1
    await session.close()


async def test_a_look_up_whose_answer_is_lost_is_not_repeated_behind_our_back(bench: Bench) -> None:
    venue = await bench.open()
    bench.proxy.faults["GET /fapi/v1/time"] = executed_then_gone
    with pytest.raises(VenueUnreachable):
        await venue.server_time_ms(Priority.DATA)  # what a stop may wait for is sent again, but by us
    assert bench.proxy.names() == ["GET /fapi/v1/time"]


async def test_ccxts_clocks_agree_and_run_in_real_time(bench: Bench) -> None:
    clock = MachineClock(speed=600)
    bench.clock.wall_offset_ms = 7_200_000
    venue = bench.build()
    await venue.open(bench.sink)
    import ccxt

    exchange = venue._exchange
    for clock_of in (exchange, type(exchange), ccxt.Exchange, ccxt.async_support.Exchange):
        assert abs(clock_of.milliseconds() - bench.clock.wall_ms()) < 500
    assert abs(exchange.seconds() * 1000 - exchange.microseconds() // 1000) < 1_050
    real = ccxt_clock(clock)
    before = real.milliseconds()
    await asyncio.sleep(0.05)
    assert 40 <= real.milliseconds() - before < 1_000


def test_importing_the_commands_or_this_package_does_not_import_ccxt() -> None:
    code = "import sys, tradingd.cli, tradingd.venues.ccxt_venue; sys.exit('ccxt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_every_quirk_says_why_whence_and_which_test_guards_it() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    quirks = {name: getattr(BINANCE, name) for name in BINANCE.__struct_fields__ if name != "ccxt_id"}
    for name, quirk in quirks.items():
        assert isinstance(quirk, Quirk) and quirk.why and quirk.source, name
        assert f"def {quirk.test}(" in tests, f"{name}: no test is called {quirk.test}"


def test_a_reply_and_a_text_show_no_listen_key_signature_or_secret() -> None:
    text = "GET http://h/ws?listenKey=abc123&x=1 {'listenKey': 'abc123'} signature=00ff key-1"
    clean = redact(text, ("key-1",))
    assert "abc123" not in clean and "00ff" not in clean and "key-1" not in clean and "x=1" in clean
    reply: Any = Reply(wrote=True, status=400, body='{"code":-1,"msg":"listenKey=abc123 is bad"}')
    assert "abc123" not in reply.message and msgspec.to_builtins(reply)["status"] == 400
