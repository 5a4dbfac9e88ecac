"""Websocket sessions: market streams by subscription, the user stream by listen key, all pushed with its delay."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from tradingd.emulator.binance.errors import VenueError
from tradingd.emulator.binance.payloads import Json, candle_frame
from tradingd.emulator.core.exchange import NEVER_MS, Exchange
from tradingd.emulator.core.lags import Lags
from tradingd.emulator.core.market import INTERVALS_MS
from tradingd.emulator.core.pushes import CandlePushes, Outbox
from tradingd.emulator.core.records import BUY, SELL, Candle
from tradingd.emulator.wire import Close, Frame, Refusal

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


class Streams:
    """All sessions, and the frames on their way to them."""

    def __init__(self, exchange: Exchange, lags: Lags, rng: Random) -> None:
        self._exchange = exchange
        self._lags = lags
        self._rng = rng
        self._sessions: dict[int, Session] = {}
        self._numbers = count(1)
        self._outbox = Outbox()
        self._candles = CandlePushes(exchange, lags)
        self._last_user_ms = 0
        self._push_ms = NEVER_MS
        self._klines: dict[str, dict[str, list[int]]] = {}
        self._others: dict[str, list[int]] = {}
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
        self._sessions[session.number] = session
        ends_ms = self._exchange.now_ms + int(CONNECTION_MS * self._lags.scale)
        self._exchange.schedule(ends_ms, partial(self._end, session.number, ends_ms))
        self._index()
        return session.number

    def _end(self, number: int, at_ms: int) -> None:
        """A connection lives a day."""
        if number in self._sessions:
            self._outbox.put(number, Close(1001, "connection is 24 hours old"), at_ms)

    def end_all(self) -> int:
        """End every connection now; says how many."""
        for number in self._sessions:
            self._end(number, self._exchange.now_ms)
        return len(self._sessions)

    def close(self, number: int) -> None:
        """The client went away."""
        if self._sessions.pop(number, None) is not None:
            self._index()

    def is_for_orders(self, number: int) -> bool:
        """Whether the session speaks the websocket API."""
        session = self._sessions.get(number)
        return session is not None and session.channel == _ORDERS

    @property
    def has_candle_listener(self) -> bool:
        """Whether somebody listens to candles."""
        return bool(self._klines)

    def on_frame(self, number: int, text: str, is_counted: bool = True) -> list[Frame]:
        """SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS; too many messages a second end the connection.

        Messages of the websocket API get no answer here.
        """
        session = self._sessions.get(number)
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
            return [_json({"result": list(session.topics), "id": request_id})]
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE") or not isinstance(topics, list):
            return [_json({"error": {"code": 2, "msg": "Invalid request: unknown variant"}, "id": request_id})]
        for topic in topics:
            if method == "SUBSCRIBE":
                session.topics[str(topic)] = None
            else:
                session.topics.pop(str(topic), None)
        if len(session.topics) > MAX_STREAMS:
            self.close(number)
            return [Close(1008, "too many streams")]
        self._index()
        return [_json({"result": None, "id": request_id})]

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
        for session in self._sessions.values():
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
        self._klines, self._others = klines, others
        if not klines and not others:
            self._push_ms = NEVER_MS
        elif self._push_ms == NEVER_MS:
            self._push_ms = self._candles.next_push(self._exchange.now_ms)

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
        for session in self._sessions.values():
            if session.listen_key == key:
                self.send(session.number, {"e": "listenKeyExpired", "E": now_ms, "listenKey": key}, now_ms)

    # -- pushes -------------------------------------------------------------------------------------------------

    def send(self, number: int, message: Json | str, due_ms: int) -> None:
        """Put one frame on its way."""
        text = message if isinstance(message, str) else _json(message)
        self._outbox.put(number, text, due_ms)

    def publish_user(self, make: Callable[[int], Json]) -> None:
        """Send an account event to whoever listens with a valid key; events keep their order."""
        due_ms = max(self._last_user_ms, self._exchange.now_ms + self._lags.stream())
        self._last_user_ms = due_ms
        hearers = [session for session in self._sessions.values() if session.listen_key in self.keys]
        if not hearers:
            return
        text = _json(make(self._exchange.now_ms + 1))
        for session in hearers:
            self.send(session.number, _wrap(session, session.listen_key or "", text), due_ms)

    def on_minute(self, symbol: str, candle: Candle) -> None:
        """A minute closed: every candle that ends with it is pushed once more, marked closed."""
        for interval, numbers in self._klines.get(symbol, {}).items():
            closed = self._candles.closed(symbol, interval, candle)
            if closed is not None:
                self._push_candle(symbol, interval, numbers, *closed, is_closed=True)

    def next_event_ms(self) -> int:
        """When the next frame is due."""
        return min(self._outbox.next_ms, self._push_ms)

    @property
    def next_push_ms(self) -> int:
        """When open candles are pushed next."""
        return self._push_ms

    def push_open(self) -> None:
        """Push all open candles and prices that somebody listens to."""
        now_ms = self._exchange.now_ms
        for symbol, intervals in self._klines.items():
            if self._candles.is_silent(symbol):
                continue
            for interval, numbers in intervals.items():
                self._push_candle(symbol, interval, numbers, *self._candles.open(symbol, interval), is_closed=False)
        for topic, numbers in self._others.items():
            text = _json(self._other(topic))
            for number in numbers:
                self.send(number, _wrap(self._sessions[number], topic, text), now_ms)
        self._push_ms = self._candles.next_push(now_ms) if self._klines or self._others else NEVER_MS

    def due(self, now_ms: int) -> list[tuple[int, Frame]]:
        """Frames whose time has come, for sessions that still live."""
        return self._outbox.due(now_ms, self._sessions)

    def _push_candle(
        self, symbol: str, interval: str, numbers: list[int], candle: Candle, end_ms: int, is_closed: bool
    ) -> None:
        now_ms = self._exchange.now_ms
        text = candle_frame(candle, end_ms - 1, interval, is_closed, now_ms + 1, self._exchange.instruments[symbol])
        topic = f"{symbol.lower()}@kline_{interval}"
        for number in numbers:
            self.send(number, _wrap(self._sessions[number], topic, text), now_ms)

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


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
