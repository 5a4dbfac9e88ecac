"""What the models of all wire dialects share: whose account it is, its time, and when it is in the ledger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, Generic, Protocol, TypeVar

import msgspec

from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.core.lags import Lags
from tradingd.emulator.core.ledger import Ledger
from tradingd.emulator.core.records import Candle

_SAVE_EVERY_MS = 1_000
HUMAN_KEY, HUMAN_SECRET = "human-key", "human-secret"
"""Another key of the same account: what somebody else does beside the daemon."""


class Listeners(Protocol):
    """What a model needs of its dialect's streams."""

    @property
    def has_candle_listener(self) -> bool:
        """Whether somebody listens to candles."""

    def close(self, number: int) -> None:
        """The client went away."""

    def on_minute(self, symbol: str, minute: Candle) -> None:
        """A minute closed."""


class Desk(Protocol):
    """What a model needs of its dialect's desk."""

    @property
    def exchange(self) -> Exchange:
        """The engine."""

    @property
    def ledger(self) -> Ledger:
        """Where the account is kept."""

    @property
    def streams(self) -> Listeners:
        """The websocket sessions."""

    @property
    def lags(self) -> Lags:
        """Knows the time scale."""

    @property
    def account_id(self) -> str:
        """Whose account it is."""

    @property
    def now_ms(self) -> int:
        """Venue time."""


D = TypeVar("D", bound=Desk)


class DialectModel(ABC, Generic[D]):
    """One account behind one wire dialect; a dialect adds what comes in, and what it makes of the engine's reports."""

    venue: ClassVar[str]

    def __init__(self, desk: D, seed: int) -> None:
        self._desk = desk
        self._seed = seed
        self._saved_ms = desk.now_ms

    @property
    def now_ms(self) -> int:
        """Venue time."""
        return self._desk.now_ms

    @property
    def stands_still(self) -> bool:
        """A market from a file waits for a candle listener, and stays where it is after its last candle."""
        exchange = self._desk.exchange
        waits = exchange.source.waits_for_listener and not self._desk.streams.has_candle_listener
        return waits or exchange.is_finished

    def describe(self) -> Mapping[str, object]:
        """Who this is."""
        exchange = self._desk.exchange
        return {
            "venue": self.venue,
            "account": self._desk.account_id,
            "market": exchange.source.kind,
            "symbols": list(exchange.feeds),
            "seed": self._seed,
            "finished": exchange.is_finished,
        }

    def close_session(self, session: int) -> None:
        """A client is gone."""
        self._desk.streams.close(session)

    def on_minute(self, symbol: str, candle: Candle) -> None:
        """A minute closed."""
        self._desk.streams.on_minute(symbol, candle)

    def close(self) -> None:
        """Write what is pending."""
        self.save()
        self._desk.ledger.close()

    def save(self, only_if_due: bool = False) -> None:
        """Commit, with the venue time, so that a restart never falls behind what was told to anybody."""
        desk = self._desk
        if only_if_due and not desk.ledger.is_dirty and desk.now_ms - self._saved_ms < _SAVE_EVERY_MS * desk.lags.scale:
            return
        keep_engine(desk.exchange, desk.ledger)
        for name, text in self._kept():
            desk.ledger.set_meta(name, text)
        desk.ledger.commit()
        self._saved_ms = desk.now_ms

    @abstractmethod
    def _kept(self) -> Iterator[tuple[str, str]]:
        """What the dialect keeps in the ledger beside the engine, by name."""


def keep_engine(exchange: Exchange, ledger: Ledger) -> None:
    """What a restart of the engine begins with: its time and its numbers. Without a commit."""
    ledger.set_meta("now_ms", str(exchange.now_ms))
    ledger.set_meta("ids", msgspec.json.encode(exchange.ids).decode())
