"""Names that cannot be resolved and TLS that fails: nothing was sent, nothing is proved, and no secret is told."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from tests.venues.bench import Bench, request
from tests.venues.doubles import BINANCE_ID, CREDENTIALS, KEY, SECRET, SeededRandom
from tradingd.domain.account import RejectKind, SubmitVerdict
from tradingd.domain.errors import VenueUnreachable
from tradingd.ports import Approved, Priority
from tradingd.venues.ccxt_venue import CcxtVenue
from tradingd.venues.transport import open_session


class Resolver(AbstractResolver):
    """A resolver that knows one name, until it fails."""

    def __init__(self) -> None:
        self.failing = False

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[Any]:
        if self.failing or host != "venue.test":
            raise OSError(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        return


def adapter(bench: Bench, endpoint: str, session: Callable[..., aiohttp.ClientSession]) -> CcxtVenue:
    venue = CcxtVenue(
        BINANCE_ID, CREDENTIALS, bench.clock, SeededRandom(), bench.budget, endpoint=endpoint, open_session=session
    )
    bench._venues.append(venue)
    return venue


@pytest.mark.fault(9)
async def test_while_the_name_is_not_resolved_an_order_was_not_sent_and_a_look_up_proves_nothing(bench: Bench) -> None:
    resolver = Resolver()

    def session(*, secure: bool, keepalive_s: float) -> aiohttp.ClientSession:
        made = open_session(secure=secure, keepalive_s=keepalive_s)
        connector: Any = made.connector
        connector._resolver, connector._use_dns_cache, connector._force_close = resolver, False, True
        return made

    venue = adapter(bench, f"http://venue.test:{bench.proxy.port}", session)
    await venue.open(bench.sink)
    bench.clock.offset_ms += await venue.server_time_ms() - bench.clock.now_ms()
    bench.proxy.seen.clear()
    resolver.failing = True
    order = request(1)
    outcome = await venue.submit(Approved(order, ()), bench.clock.now_ms(), Priority.ENTRY)
    assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, RejectKind.NOT_SENT)
    with pytest.raises(VenueUnreachable) as failed:
        await venue.find_order(order, Priority.RECONCILE)
    assert failed.value.transient and bench.proxy.seen == []
    assert KEY not in str(failed.value) and SECRET not in str(failed.value)
    resolver.failing = False
    assert await venue.find_order(order, Priority.RECONCILE) is None


def certificate(directory: Path, name: str, days: str) -> ssl.SSLContext:
    """A server's own certificate and key, made here."""
    (directory / "names").write_text(f"subjectAltName={name}\n")
    ask = "openssl req -new -newkey rsa:2048 -nodes -keyout key.pem -out ask.pem -subj /CN=venue"
    sign = f"openssl x509 -req -in ask.pem -signkey key.pem -out cert.pem -extfile names -days {days}"
    for command in (ask, sign):
        subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context


CASES = {
    "self-signed": ("IP:127.0.0.1", "30", False),
    "expired": ("IP:127.0.0.1", "-1", True),
    "not valid for '127.0.0.1'": ("DNS:elsewhere.test", "30", True),
}
"""Why it is refused, in OpenSSL's words: name, days, whether its issuer is trusted, so that nothing else is wrong."""


@pytest.mark.fault(10)
@pytest.mark.parametrize("case", CASES)
async def test_a_venue_whose_certificate_is_wrong_is_sent_nothing_and_asked_again(
    bench: Bench, tmp_path: Path, case: str
) -> None:
    name, days, trusted = CASES[case]
    context = certificate(tmp_path, name, days)
    asked: list[str] = []

    async def answer(asking: web.Request) -> web.Response:
        asked.append(asking.path)
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    assert runner.addresses
    port = runner.addresses[0][1]

    def session(*, secure: bool, keepalive_s: float) -> aiohttp.ClientSession:
        made = open_session(secure=secure, keepalive_s=keepalive_s)
        assert secure
        if trusted:
            connector: Any = made.connector
            connector._ssl.load_verify_locations(tmp_path / "cert.pem")
        return made

    try:
        with pytest.raises(VenueUnreachable) as failed:
            await asyncio.wait_for(adapter(bench, f"https://127.0.0.1:{port}", session).open(bench.sink), 20)
    finally:
        await runner.cleanup()
    assert failed.value.transient and asked == []
    assert KEY not in str(failed.value) and SECRET not in str(failed.value)
    assert "certificate" in str(failed.value).lower(), failed.value
    assert case in str(failed.value) or case == "expired", failed.value
