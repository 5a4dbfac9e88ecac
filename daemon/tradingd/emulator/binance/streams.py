"""Websocket sessions: market streams by subscription, the user stream by listen key, all pushed with its delay."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import ClassVar
from urllib.parse import parse_qsl

import msgspec

from tradingd.emulator.binance.errors import VenueError
from tradingd.emulator.binance.payloads import Json, candle_frame
from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.core.lags import Lags
from tradingd.emulator.core.market import INTERVALS_MS
from tradingd.emulator.core.records import BUY, SELL, Candle
from tradingd.emulator.core.sessions import Sessions
from tradingd.emulator.wire import Close, Frame, Refusal, json_text

LISTEN_KEY_MS = 3_600_000
MESSAGES_PER_SECOND = 10
MAX_STREAMS = 1024
CONNECTION_MS = 24 * 3_600_000
_PUBLIC, _MARKET, _PRIVATE, _ORDERS = "public", "market", "private", "orders"
_KEY_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Session(msgspec.Struct):
    """One websocket of one client."""

    number: int
    channel: str
    wraps: bool
    listen_key: str | None = None
    topics: dict[str, None] = msgspec.field(default_factory=dict)
    arrivals: deque[int] = msgspec.field(default_factory=deque)


class Streams(Sessions[Session]):
    """All sessions, and the frames on their way to them."""

    intervals: ClassVar[Mapping[str, str]] = {name: name for name in INTERVALS_MS}

    def __init__(self, exchange: Exchange, lags: Lags, rng: Random) -> None:
        super().__init__(exchange, lags)
        self._rng = rng
        self._last_user_ms = 0
        self.keys: dict[str, int] = {}

    # -- sessions -----------------------------------------------------------------------------------------------

    def open(self, path: str, query: str) -> int | Refusal:
        """Accept a handshake on one of the documented paths."""
        parts = [part for part in path.split("/") if part]
        if parts == ["ws-fapi", "v1"]:
            return self._register(Session(next(self._numbers), _ORDERS, wraps=False))
        channel = parts.pop(0) if parts and parts[0] in (_PUBLIC, _MARKET, _PRIVATE) else _PUBLIC
        if not parts or parts[0] not in ("ws", "stream"):
            return Refusal(404, "Not Found")
        values = dict(parse_qsl(query))
        session = Session(next(self._numbers), channel, wraps=parts[0] == "stream")
        if channel == _PRIVATE:
            session.listen_key = values.get("listenKey", parts[1] if len(parts) > 1 else None)
        names = [part for part in parts[1:] if "@" in part]
        names += [name for name in values.get("streams", "").split("/") if "@" in name]
        session.topics = dict.fromkeys(names)
        if len(session.topics) > MAX_STREAMS:
            return Refusal(400, "Bad Request")
        return self._register(session)

    def _register(self, session: Session) -> int:
        self.sessions[session.number] = session
        ends_ms = self._exchange.now_ms + int(CONNECTION_MS * self._lags.scale)
        self._exchange.schedule(ends_ms, partial(self._end, session.number, ends_ms))
        self._index()
        return session.number

    def _end(self, number: int, at_ms: int) -> None:
        """A connection lives a day."""
        if number in self.sessions:
            self._outbox.put(number, Close(1001, "connection is 24 hours old"), at_ms)

    def end_all(self) -> int:
        """End every connection now; says how many."""
        for number in self.sessions:
            self._end(number, self._exchange.now_ms)
        return len(self.sessions)

    def is_for_orders(self, number: int) -> bool:
        """Whether the session speaks the websocket API."""
        session = self.sessions.get(number)
        return session is not None and session.channel == _ORDERS

    def on_frame(self, number: int, text: str, is_counted: bool = True) -> list[Frame]:
        """SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS; too many messages a second end the connection.

        Messages of the websocket API get no answer here.
        """
        session = self.sessions.get(number)
        if session is None:
            return [Close(1008, "no such session")]
        if session.channel == _ORDERS:
            return []
        if is_counted and self._is_flood(session):
            self.close(number)
            return [Close(1008, "Too many requests")]
        try:
            message = msgspec.json.decode(text)
            method, request_id = message["method"], message.get("id")
            topics = message.get("params", [])
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            return ['{"error":{"code":2,"msg":"Invalid request: unable to parse the request"}}']
        if method == "LIST_SUBSCRIPTIONS":
            return [json_text({"result": list(session.topics), "id": request_id})]
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE") or not isinstance(topics, list):
            return [json_text({"error": {"code": 2, "msg": "Invalid request: unknown variant"}, "id": request_id})]
        for topic in topics:
            if method == "SUBSCRIBE":
                session.topics[str(topic)] = None
            else:
                session.topics.pop(str(topic), None)
        if len(session.topics) > MAX_STREAMS:
            self.close(number)
            return [Close(1008, "too many streams")]
        self._index()
        return [json_text({"result": None, "id": request_id})]

    def _is_flood(self, session: Session) -> bool:
        now_ms, window_ms = self._exchange.now_ms, 1_000 * self._lags.scale
        session.arrivals.append(now_ms)
        while session.arrivals and session.arrivals[0] <= now_ms - window_ms:
            session.arrivals.popleft()
        return len(session.arrivals) > MESSAGES_PER_SECOND

    def _index(self) -> None:
        """Who hears what; a topic on a path of another class is accepted and stays silent, as on the venue."""
        klines: dict[str, dict[str, list[int]]] = {}
        others: dict[str, list[int]] = {}
        for session in self.sessions.values():
            for topic in session.topics:
                symbol, _, stream = topic.partition("@")
                symbol = symbol.upper()
                if symbol not in self._exchange.feeds:
                    continue
                kind, _, interval = stream.partition("_")
                if kind == "kline" and interval in INTERVALS_MS and session.channel == _MARKET:
                    klines.setdefault(symbol, {}).setdefault(interval, []).append(session.number)
                elif (stream.startswith("markPrice") and session.channel == _MARKET) or (
                    stream == "bookTicker" and session.channel == _PUBLIC
                ):
                    others.setdefault(topic, []).append(session.number)
        self._serve(klines, others)

    # -- listen keys --------------------------------------------------------------------------------------------

    def issue_key(self) -> str:
        """The valid listen key, its life extended, or a new one."""
        for key in self.keys:
            self.extend_key(key)
            return key
        key = "".join(self._rng.choice(_KEY_LETTERS) for _ in range(64))
        self.keys[key] = 0
        self.extend_key(key)
        return key

    def extend_key(self, key: str) -> None:
        """An hour from now, in real time; raises -1125 for a key that is not valid."""
        if key not in self.keys:
            raise VenueError(-1125)
        expires_ms = self._exchange.now_ms + int(LISTEN_KEY_MS * self._lags.scale)
        self.keys[key] = expires_ms
        self._exchange.schedule(expires_ms, partial(self._expire, key, expires_ms))

    def restore_keys(self, keys: dict[str, int]) -> None:
        """Take keys over from the ledger with what is left of their hour."""
        for key, expires_ms in keys.items():
            self.keys[key] = expires_ms
            self._exchange.schedule(expires_ms, partial(self._expire, key, expires_ms))

    def drop_key(self, key: str) -> None:
        """End a key at its owner's wish."""
        if self.keys.pop(key, None) is None:
            raise VenueError(-1125)

    def _expire(self, key: str, expires_ms: int) -> None:
        if self.keys.get(key) == expires_ms:
            self.expire_key(key)

    def expire_key(self, key: str) -> None:
        """End a key before its owner wishes; who listens with it is told, and hears nothing more."""
        del self.keys[key]
        now_ms = self._exchange.now_ms
        for session in self.sessions.values():
            if session.listen_key == key:
                self.send(session.number, {"e": "listenKeyExpired", "E": now_ms, "listenKey": key}, now_ms)

    # -- pushes -------------------------------------------------------------------------------------------------

    def send(self, number: int, message: Json | str, due_ms: int) -> None:
        """Put one frame on its way."""
        text = message if isinstance(message, str) else json_text(message)
        self._outbox.put(number, text, due_ms)

    def publish_user(self, make: Callable[[int], Json]) -> None:
        """Send an account event to whoever listens with a valid key; events keep their order."""
        due_ms = max(self._last_user_ms, self._exchange.now_ms + self._lags.stream())
        self._last_user_ms = due_ms
        hearers = [session for session in self.sessions.values() if session.listen_key in self.keys]
        if not hearers:
            return
        text = json_text(make(self._exchange.now_ms + 1))
        for session in hearers:
            self.send(session.number, _wrap(session, session.listen_key or "", text), due_ms)

    def _push_price(self, name: str, numbers: list[int]) -> None:
        text = json_text(self._other(name))
        for number in numbers:
            self.send(number, _wrap(self.sessions[number], name, text), self._exchange.now_ms)

    def _push_candle(
        self, symbol: str, interval: str, numbers: list[int], candle: Candle, end_ms: int, is_closed: bool
    ) -> None:
        now_ms = self._exchange.now_ms
        text = candle_frame(candle, end_ms - 1, interval, is_closed, now_ms + 1, self._exchange.instruments[symbol])
        topic = f"{symbol.lower()}@kline_{interval}"
        for number in numbers:
            self.send(number, _wrap(self.sessions[number], topic, text), now_ms)

    def _other(self, topic: str) -> Json:
        symbol, _, stream = topic.partition("@")
        symbol = symbol.upper()
        exchange = self._exchange
        if stream == "bookTicker":
            return book_ticker_event(exchange, symbol)
        mark = f"{exchange.mark_price(symbol):.8f}"
        return {
            "e": "markPriceUpdate",
            "E": exchange.now_ms,
            "s": symbol,
            "p": mark,
            "i": mark,
            "P": mark,
            "r": f"{exchange.funding.rate(symbol):.8f}",
            "T": exchange.funding.next_ms,
        }


def book_ticker_event(exchange: Exchange, symbol: str) -> Json:
    """Best bid and ask as an event."""
    instrument = exchange.instruments[symbol]
    (bid, bid_lots), (ask, ask_lots) = exchange.book(symbol, SELL)[0], exchange.book(symbol, BUY)[0]
    lots = instrument.quantity_digits
    return {
        "e": "bookTicker",
        "u": exchange.now_ms,
        "s": symbol,
        "ps": symbol,
        "b": f"{instrument.price(bid):.{instrument.price_digits}f}",
        "B": f"{bid_lots * instrument.lot_unit:.{lots}f}",
        "a": f"{instrument.price(ask):.{instrument.price_digits}f}",
        "A": f"{ask_lots * instrument.lot_unit:.{lots}f}",
        "T": exchange.now_ms,
        "E": exchange.now_ms,
    }


def _wrap(session: Session, topic: str, text: str) -> str:
    return f'{{"stream":"{topic}","data":{text}}}' if session.wraps else text
