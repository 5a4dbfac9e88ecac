"""A signed client without sockets, and real clients over loopback."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import ccxt.pro
import pytest

from tradingd.emulator.binance.model import BinanceVenue
from tradingd.emulator.bybit.model import BybitVenue
from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.server import VenueServer
from tradingd.emulator.venues import VenueOptions, open_venue
from tradingd.emulator.wire import HttpRequest, HttpResponse

START_MS = 1_795_000_020_000
START_MS -= START_MS % 60_000
MARKET = {"type": "MARKET", "newOrderRespType": "RESULT"}


def write_candles(
    path: Path, rows: list[tuple[float, float, float, float]], start_ms: int = START_MS, volume: float = 10.0
) -> Path:
    """A candle file with one row per minute."""
    lines = ["timestamp_ms,open,high,low,close,volume"]
    for index, row in enumerate(rows):
        lines.append(",".join(str(cell) for cell in (start_ms + index * 60_000, *row, volume)))
    path.write_text("\n".join(lines) + "\n")
    return path


def flat(price: float, count: int) -> list[tuple[float, float, float, float]]:
    """Candles without any movement."""
    return [(price, price, price, price)] * count


class Caller:
    """Signs and sends requests to a model as a client would, and collects what is pushed."""

    def __init__(self, options: VenueOptions | None = None, start_ms: int = START_MS, **changes: Any) -> None:
        self.options = options or VenueOptions(symbols=("BTCUSDT", "ETHUSDT"), with_lags=False, **changes)
        self.venue: BinanceVenue = open_venue(self.options, start_ms)
        self.frames: list[dict[str, Any]] = []
        self.last: HttpResponse | None = None

    @property
    def exchange(self) -> Exchange:
        return self.venue._desk.exchange

    @property
    def now_ms(self) -> int:
        return self.venue.now_ms

    def call(
        self,
        method: str,
        path: str,
        *,
        signed: bool = True,
        key: str = "sim-key",
        secret: str = "sim-secret",
        **params: Any,
    ) -> Any:
        values = {name: value for name, value in params.items() if value is not None}
        if signed:
            values.setdefault("timestamp", self.now_ms)
            values.setdefault("recvWindow", 10_000)
            text = urlencode(values)
            text += "&signature=" + hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        else:
            text = urlencode(values)
        in_body = method in ("POST", "PUT")
        self.last = self.venue.handle(
            HttpRequest(method, path, "" if in_body else text, {"x-mbx-apikey": key}, text.encode() if in_body else b"")
        )
        return json.loads(self.last.body)

    def order(self, side: str, quantity: Any = "0.01", **params: Any) -> Any:
        """A market order unless told otherwise."""
        return self.call(
            "POST", "/fapi/v1/order", **{"symbol": "BTCUSDT", "side": side, "quantity": quantity, **MARKET, **params}
        )

    def limit(self, side: str, price: Any, quantity: Any = "0.01", **params: Any) -> Any:
        return self.order(side, quantity, **{"type": "LIMIT", "price": price, "timeInForce": "GTC", **params})

    def algo(self, side: str, kind: str, trigger: Any, **params: Any) -> Any:
        return self.call(
            "POST",
            "/fapi/v1/algoOrder",
            **{
                "symbol": "BTCUSDT",
                "side": side,
                "type": kind,
                "algoType": "CONDITIONAL",
                "triggerPrice": trigger,
                **params,
            },
        )

    def listen(self, *topics: str) -> int:
        """A user stream, or a market stream on topics."""
        if not topics:
            key = self.call("POST", "/fapi/v1/listenKey", signed=False)["listenKey"]
            session = self.venue.open_session("/private/ws", f"listenKey={key}")
        else:
            session = self.venue.open_session("/market/ws/0", "")
            assert isinstance(session, int)
            self.venue.on_frame(session, json.dumps({"method": "SUBSCRIBE", "params": list(topics), "id": 1}))
        assert isinstance(session, int)
        return session

    def run(self, seconds: float) -> list[dict[str, Any]]:
        """Let venue time pass; gives the frames of that time."""
        fresh = [
            json.loads(frame)
            for _, frame in self.venue.advance(self.now_ms + int(seconds * 1000))
            if isinstance(frame, str)
        ]
        self.frames += fresh
        return fresh

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Frames of one event type."""
        return [frame for frame in self.frames if frame.get("e") == kind]

    def price(self, symbol: str = "BTCUSDT") -> float:
        return float(self.call("GET", "/fapi/v1/ticker/price", signed=False, symbol=symbol)["price"])

    def position(self, symbol: str = "BTCUSDT") -> float:
        rows = self.call("GET", "/fapi/v3/positionRisk", symbol=symbol)
        return float(rows[0]["positionAmt"]) if rows else 0.0


def steady(tmp_path: Path, rows: list[tuple[float, float, float, float]], **changes: Any) -> Caller:
    """A venue on candles of our own; the first two are history, a candle listener keeps time running."""
    path = write_candles(tmp_path / "candles.csv", rows)
    caller = Caller(VenueOptions(candles={"BTCUSDT": path}, history=2, with_lags=False, **changes))
    caller.listen("btcusdt@kline_1m")
    return caller


@asynccontextmanager
async def serving(venue: BinanceVenue | BybitVenue, speed: float = 1.0) -> AsyncIterator[VenueServer]:
    """The model behind a real socket."""
    server = VenueServer(venue, asyncio.get_running_loop().time, speed)
    await server.start(0)
    try:
        yield server
    finally:
        await server.stop()


def redirect(client: Any, port: int) -> Any:
    """Scheme and host of every address of a ccxt client are replaced, paths are kept."""

    def replace(urls: dict[str, Any]) -> None:
        for name, value in urls.items():
            if isinstance(value, dict):
                replace(value)
            elif isinstance(value, str):
                urls[name] = re.sub(r"^(http|ws)s?://[^/]+", rf"\1://127.0.0.1:{port}", value)

    replace(client.urls["api"])
    return client


def ccxt_client(port: int, **config: Any) -> Any:
    """An unmodified ccxt.pro client of a built-in Binance."""
    client = ccxt.pro.binanceusdm({"apiKey": "sim-key", "secret": "sim-secret", "enableRateLimit": False, **config})
    client.has["fetchCurrencies"] = False
    client.options["fetchMargins"] = False
    return redirect(client, port)


class Bench:
    """A venue, its server's port and clients of it."""

    make_client = staticmethod(ccxt_client)

    def __init__(self, venue: BinanceVenue | BybitVenue, port: int) -> None:
        self.venue: BinanceVenue | BybitVenue = venue
        self.port = port
        self.clients: list[Any] = []

    async def client(self, **config: Any) -> Any:
        client = self.make_client(self.port, **config)
        self.clients.append(client)
        await client.load_time_difference()
        await client.load_markets()
        return client

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self.clients))

    def act(self, kind: str, **values: Any) -> str:
        return self.venue.act(kind, values)

    def requests(self, path: str) -> list[tuple[str, str, int | None]]:
        """Method, parameters and code of what was asked there."""
        rows = self.venue._desk.ledger._db.execute(
            "SELECT method, params, code FROM requests WHERE path = ? ORDER BY request_id", (path,)
        )
        return list(rows)

    def price(self, symbol: str = "BTCUSDT") -> float:
        return float(self.venue._desk.exchange.last_price(symbol))


async def until(check: Callable[[], Awaitable[Any]], limit_s: float = 6.0) -> Any:
    """The first true answer of `check`, asked again and again."""
    for _ in range(int(limit_s / 0.02)):
        if found := await check():
            return found
        await asyncio.sleep(0.02)
    raise TimeoutError


def code_of(fault: BaseException, field: str = "code") -> int:
    """The venue's code in what a client raised, under the name that its dialect has for it."""
    return int(str(fault).split(f'"{field}":')[1].split(",")[0])


async def refused(call: Awaitable[Any], field: str = "code") -> int:
    """The venue's code, which the client must have raised."""
    with pytest.raises(ccxt.pro.BaseError) as caught:
        await call
    return code_of(caught.value, field)
