"""Websocket sessions: public candles and tickers by topic, private topics after auth, all pushed with their delay."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from tradingd.emulator.bybit.limits import Limits
from tradingd.emulator.bybit.params import is_signed
from tradingd.emulator.bybit.payloads import INTERVALS, Json, candle_push, plain
from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.core.lags import Lags
from tradingd.emulator.core.records import BUY, SELL, Candle
from tradingd.emulator.core.sessions import Sessions
from tradingd.emulator.wire import Close, Frame, Refusal, json_text

PUBLIC, PRIVATE, TRADE = "/v5/public/linear", "/v5/private", "/v5/trade"
PRIVATE_TOPICS = ("order", "execution", "position", "wallet")
MAX_ARGS_LENGTH = 21_000
AUTH_MS = 10_000


class Session(msgspec.Struct):
    """One websocket of one client."""

    number: int
    path: str
    connection: str
    is_known: bool = False
    topics: dict[str, None] = msgspec.field(default_factory=dict)


class Streams(Sessions[Session]):
    """All sessions, and the frames on their way to them."""

    intervals = INTERVALS

    def __init__(
        self,
        exchange: Exchange,
        lags: Lags,
        rng: Random,
        limits: Limits,
        secret_of: Callable[[str], str | None],
        clock_ms: Callable[[], int],
    ) -> None:
        super().__init__(exchange, lags)
        self._rng = rng
        self._limits = limits
        self._secret_of = secret_of
        self._clock_ms = clock_ms
        self._last_ms: dict[str, int] = {}
        self._unsent: list[tuple[int, str, Json]] = []

    # -- sessions -----------------------------------------------------------------------------------------------

    def open(self, path: str) -> int | Refusal:
        """Accept a handshake on one of the documented paths; categories other than linear have no feed here."""
        if path not in (PUBLIC, PRIVATE, TRADE):
            return Refusal(404, "Not Found")
        if not self._limits.may_dial(self._exchange.now_ms):
            return Refusal(403, "Forbidden")
        number = next(self._numbers)
        self.sessions[number] = Session(number, path, f"{self._rng.getrandbits(60):015x}-{number}")
        return number

    def end_all(self) -> int:
        """End every connection now; says how many."""
        for number in self.sessions:
            self._outbox.put(number, Close(1001, "going away"), self._exchange.now_ms)
        return len(self.sessions)

    def on_frame(self, number: int, text: str) -> tuple[list[Frame], Json | None]:
        """The direct answers; a message that asks for an order is given back for the gateway."""
        session = self.sessions.get(number)
        if session is None:
            return [Close(1008, "no such session")], None
        try:
            message = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError:
            fault = {"success": False, "ret_msg": "Params Error", "conn_id": session.connection, "op": ""}
            return [json_text(fault)], None
        op = message.get("op")
        if op == "ping":
            return [self._pong(session, message)], None
        if op == "auth" and session.path != PUBLIC:
            return [self._auth(session, message)], None
        if session.path == TRADE:
            return [], message
        if op in ("subscribe", "unsubscribe"):
            return [self._subscribe(session, message, str(op))], None
        return [
            json_text(
                {
                    "success": False,
                    "ret_msg": "error:invalid op",
                    "conn_id": session.connection,
                    "req_id": message.get("req_id", ""),
                    "op": op,
                }
            )
        ], None

    def _pong(self, session: Session, message: Json) -> str:
        request_id = message.get("req_id", "")
        if session.path == PUBLIC:
            return json_text(
                {"success": True, "ret_msg": "pong", "conn_id": session.connection, "req_id": request_id, "op": "ping"}
            )
        return json_text(
            {"req_id": request_id, "op": "pong", "args": [str(self._clock_ms())], "conn_id": session.connection}
        )

    def _auth(self, session: Session, message: Json) -> str:
        """Key, expiry and signature; an expiry that has passed is `Params Error`, which names no request.

        The ten seconds that clients give it last as long in real time at every speed.
        """
        args = message.get("args")
        fault = "Params Error"
        slack_ms = AUTH_MS * (self._lags.scale - 1)
        if (
            isinstance(args, list)
            and len(args) == 3
            and str(args[1]).isdigit()
            and (int(args[1]) > self._clock_ms() - slack_ms)
        ):
            secret = self._secret_of(str(args[0]))
            session.is_known = secret is not None and is_signed(f"GET/realtime{args[1]}", str(args[2]), secret)
            fault = "" if session.is_known else "Request not authorized"
        if session.path == TRADE:
            return json_text(
                {"retCode": 10004 if fault else 0, "retMsg": fault or "OK", "op": "auth", "connId": session.connection}
            )
        return json_text({"success": not fault, "ret_msg": fault, "op": "auth", "conn_id": session.connection})

    def _subscribe(self, session: Session, message: Json, op: str) -> str:
        """All topics of one message or none: one that is unknown, or already there, refuses the others with it."""
        args = message.get("args")
        topics = [str(topic) for topic in args] if isinstance(args, list) else []
        fault = ""
        if session.path == PRIVATE and not session.is_known:
            fault = "Request not authorized"
        elif sum(map(len, topics)) > MAX_ARGS_LENGTH:
            fault = "args too long"
        elif op == "subscribe":
            for topic in topics:
                if topic in session.topics:
                    fault = f"error:already subscribed,topic:{topic}"
                elif not self._is_topic(session, topic):
                    fault = f"error:handler not found,topic:{topic}"
        if not fault:
            for topic in topics:
                if op == "subscribe":
                    session.topics[topic] = None
                else:
                    session.topics.pop(topic, None)
            self._index()
        return json_text(
            {
                "success": not fault,
                "ret_msg": fault,
                "conn_id": session.connection,
                "req_id": message.get("req_id", ""),
                "op": op,
            }
        )

    def _is_topic(self, session: Session, topic: str) -> bool:
        if session.path == PRIVATE:
            return topic.removesuffix(".linear") in PRIVATE_TOPICS
        parts = topic.split(".")
        if parts[0] == "kline":
            return len(parts) == 3 and parts[1] in INTERVALS and parts[2] in self._exchange.feeds
        return len(parts) == 2 and parts[0] == "tickers" and parts[1] in self._exchange.feeds

    def _index(self) -> None:
        """Who hears what."""
        klines: dict[str, dict[str, list[int]]] = {}
        tickers: dict[str, list[int]] = {}
        for session in self.sessions.values():
            for topic in session.topics if session.path == PUBLIC else ():
                kind, *rest = topic.split(".")
                if kind == "kline":
                    klines.setdefault(rest[1], {}).setdefault(rest[0], []).append(session.number)
                else:
                    tickers.setdefault(rest[0], []).append(session.number)
        self._serve(klines, tickers)

    # -- pushes -------------------------------------------------------------------------------------------------

    def publish(self, topic: str, row: Json) -> None:
        """Tell of a change of the account; executions of one moment leave in one message, `flush` sends them."""
        self._unsent.append((self._exchange.now_ms, topic, row))

    def flush(self) -> None:
        """Put what was published on its way; each topic keeps its own order, and only that."""
        groups: list[tuple[int, str, list[Json]]] = []
        executions: dict[int, list[Json]] = {}
        for at_ms, topic, row in self._unsent:
            if topic == "execution" and at_ms in executions:
                executions[at_ms].append(row)
                continue
            rows = [row]
            if topic == "execution":
                executions[at_ms] = rows
            groups.append((at_ms, topic, rows))
        self._unsent.clear()
        for at_ms, topic, rows in groups:
            due_ms = max(self._last_ms.get(topic, 0), at_ms + self._lags.stream())
            self._last_ms[topic] = due_ms
            for session in self.sessions.values():
                for name in (topic, f"{topic}.linear"):
                    if session.path == PRIVATE and name in session.topics:
                        frame = {
                            "id": f"{self._rng.getrandbits(64):016x}",
                            "topic": name,
                            "creationTime": at_ms,
                            "data": rows,
                        }
                        self._outbox.put(session.number, json_text(frame), due_ms)

    def _push_price(self, name: str, numbers: list[int]) -> None:
        now_ms = self._exchange.now_ms
        frame = {
            "topic": f"tickers.{name}",
            "type": "snapshot",
            "ts": now_ms,
            "cs": now_ms,
            "data": ticker(self._exchange, name),
        }
        text = json_text(frame)
        for number in numbers:
            self._outbox.put(number, text, now_ms)

    def _push_candle(
        self, symbol: str, interval: str, numbers: list[int], candle: Candle, end_ms: int, is_closed: bool
    ) -> None:
        now_ms = self._exchange.now_ms
        text = json_text(candle_push(candle, end_ms, interval, is_closed, self._exchange.instruments[symbol], now_ms))
        for number in numbers:
            self._outbox.put(number, text, now_ms)


def ticker(exchange: Exchange, symbol: str) -> Json:
    """Prices of a symbol, as the stream and REST show them."""
    instrument, feed = exchange.instruments[symbol], exchange.feeds[symbol]
    day = [*feed.since(exchange.now_ms - 86_400_000), feed.forming(exchange.now_ms)]
    (bid, bid_lots), (ask, ask_lots) = exchange.book(symbol, SELL)[0], exchange.book(symbol, BUY)[0]
    digits, lots = instrument.price_digits, instrument.quantity_digits
    last, mark = exchange.last_price(symbol), exchange.mark_price(symbol)
    first = instrument.price(day[0].open)
    volume = sum(row.volume for row in day)
    return {
        "symbol": symbol,
        "tickDirection": "PlusTick",
        "price24hPcnt": f"{(last - first) / first:.6f}",
        "lastPrice": f"{last:.{digits}f}",
        "prevPrice24h": f"{first:.{digits}f}",
        "highPrice24h": f"{instrument.price(max(row.high for row in day)):.{digits}f}",
        "lowPrice24h": f"{instrument.price(min(row.low for row in day)):.{digits}f}",
        "markPrice": f"{mark:.{digits}f}",
        "indexPrice": f"{mark:.{digits}f}",
        "openInterest": "0",
        "openInterestValue": "0",
        "turnover24h": f"{volume * float(last):.4f}",
        "volume24h": f"{volume:.{lots}f}",
        "nextFundingTime": str(exchange.funding.next_ms),
        "fundingRate": plain(exchange.funding.rate(symbol)),
        "bid1Price": f"{instrument.price(bid):.{digits}f}",
        "bid1Size": f"{bid_lots * instrument.lot_unit:.{lots}f}",
        "ask1Price": f"{instrument.price(ask):.{digits}f}",
        "ask1Size": f"{ask_lots * instrument.lot_unit:.{lots}f}",
    }
