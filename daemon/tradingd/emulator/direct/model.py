"""What the clients of the direct face share: the engine, what may be seen of it, pushes on their way, and faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Protocol

from tradingd.domain.account import VenueBalance, VenueOrder, VenuePosition
from tradingd.domain.candles import TIMEFRAMES, Candle
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Fill
from tradingd.emulator.core import acts, records
from tradingd.emulator.core.account import Totals
from tradingd.emulator.core.exchange import NEVER_MS, Exchange
from tradingd.emulator.core.lags import Lags
from tradingd.emulator.core.ledger import Ledger
from tradingd.emulator.core.model import keep_engine
from tradingd.emulator.core.pushes import CandlePushes
from tradingd.emulator.core.records import Conditional, Order
from tradingd.emulator.core.views import Views, seen_totals
from tradingd.emulator.direct import rows
from tradingd.emulator.direct.meaning import DirectMeaning
from tradingd.emulator.faults.language import Script
from tradingd.emulator.faults.script import FaultScript, Play

VENUE = VenueId("direct")
Push = VenueOrder | Fill | VenuePosition | VenueBalance | Candle
_HALF_OPEN_S = 20
"""A client of the direct face takes a stream for dead after so long without a sign of life."""


class Client(Protocol):
    """Who hears of pushes, and whose streams can be cut."""

    def hear(self, push: Push, candles: tuple[str, str] | None) -> None:
        """A push; `candles` names the subscription that it is for."""

    def cut(self, kind: str, reason: str) -> None:
        """The streams of a kind end."""

    def mute(self, kind: str, until_ms: int) -> None:
        """Nothing is heard on streams of a kind."""

    def wake(self) -> None:
        """Something is due earlier than it was."""


class DirectModel:
    """One account. A `core.exchange.Listener` and a `core.admin.Desk`; time is pushed in."""

    def __init__(
        self,
        exchange: Exchange,
        ledger: Ledger,
        seed: int,
        account_id: str,
        api_key: str,
        api_secret: str,
        with_lags: bool = True,
    ) -> None:
        self.exchange, self.ledger, self.account_id = exchange, ledger, account_id
        self.skew_ms = 0
        self.is_read_only = False
        self.lags = Lags(Random(f"{seed}/direct/{exchange.now_ms}"), enabled=with_lags)
        self.views = Views(exchange.account, self.lags)
        self.views.load(ledger.orders(), ledger.conditionals(), ledger.fills())
        self.clients: list[Client] = []
        self.wanted: set[tuple[str, str]] = set()
        self.script = FaultScript(Script(), DirectMeaning())
        self._candles = CandlePushes(exchange, self.lags)
        self._next_candles_ms = self._candles.next_push(exchange.now_ms)
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        exchange.listener = self

    # -- time -------------------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """Venue time."""
        return self.exchange.now_ms

    def next_due_ms(self) -> int:
        """When something happens next."""
        first = self._due[0][0] if self._due else NEVER_MS
        candles = self._next_candles_ms if self.wanted else NEVER_MS
        return min(first, candles, self.exchange.next_event_ms(), self.script.next_due_ms())

    def run(self, to_ms: int) -> None:
        """Let time pass, and what is due happen."""
        while (due_ms := self.next_due_ms()) <= to_ms:
            self.exchange.advance(max(due_ms, self.now_ms))
            if self.now_ms >= self._next_candles_ms:
                self._next_candles_ms = self._candles.next_push(self.now_ms)
                self._push_forming()
            while self._due and self._due[0][0] <= self.now_ms:
                heappop(self._due)[2]()
            self.play(self.script.due(self.now_ms))
            if self.exchange.is_finished:
                break
        self.exchange.advance(to_ms)
        self.views.now_ms = self.now_ms
        self.save()

    def save(self) -> None:
        """Commit what has happened, with what a restart needs."""
        if self.ledger.is_dirty:
            keep_engine(self.exchange, self.ledger)
            self.ledger.commit()

    @property
    def stands_still(self) -> bool:
        """A market comes to its end; it never waits here: time is in the hand of whoever replays it."""
        return self.exchange.is_finished

    def advance(self, to_ms: int) -> None:
        """Where a new market begins."""
        self.run(to_ms)

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Do something later."""
        heappush(self._due, (self.now_ms + delay_ms, next(self._order), action))
        self.changed()

    def changed(self) -> None:
        """What is due next may have changed."""
        for client in self.clients:
            client.wake()

    # -- faults -----------------------------------------------------------------------------------------------------

    def begin(self, script: Script) -> None:
        """Play another script from now on; what the last one left in force ends."""
        self.script = FaultScript(script, DirectMeaning(), self.now_ms)
        for client in self.clients:
            for kind in ("account", "candles"):
                client.mute(kind, 0)
        self.changed()

    def play(self, plays: Iterable[Play]) -> None:
        """Do what the script says is to be done now."""
        for play in plays:
            kinds = ("account", "candles") if play.stream == "any" else (play.stream,)
            if play.kind in ("mute", "half_open"):
                for_s = play.seconds("for_s")
                for client in self.clients:
                    for kind in kinds:
                        client.mute(kind, self.now_ms + round(for_s * 1000))
                if play.kind == "half_open":
                    self.after(_HALF_OPEN_S * 1000, lambda kinds=kinds: self._cut(kinds, "no sign of life"))  # type: ignore[misc]
                text = f"left streams ({play.stream}) {play.kind}"
            elif play.kind == "cut_streams":
                self._cut(kinds, "connection reset")
                text = f"cut streams ({play.stream})"
            else:
                text = self.act(play.kind, play.values)
            self.script.tell(self.now_ms, play, text)

    def _cut(self, kinds: tuple[str, ...], reason: str) -> None:
        for client in list(self.clients):
            for kind in kinds:
                client.cut(kind, reason)

    def act(self, kind: str, values: Mapping[str, object]) -> str:
        """What the venue or a human does without being asked."""
        text = acts.play(self, kind, values, {})
        self.changed()
        return text

    def human_client_id(self) -> str:
        """What an order by hand carries."""
        return f"web_{self.exchange.reserve_id()}"

    # -- what the engine reports ------------------------------------------------------------------------------------

    def on_order(self, order: Order, execution: str, fill: records.Fill | None, at_ms: int) -> None:
        """A plain order changed."""
        self.views.put_order(order, at_ms)
        if fill is not None:
            self.views.put_fill(fill, at_ms)
            self._publish("fill", rows.fill(fill, self.name(order.symbol)), order.symbol)
        self._publish("order", rows.plain(order, self.name(order.symbol)), order.symbol)

    def on_conditional(self, order: Conditional, at_ms: int) -> None:
        """A conditional order changed."""
        self.views.put_conditional(order, at_ms)
        self._publish("order", rows.conditional(order, self.name(order.symbol)), order.symbol)

    def on_account(self, symbols: Iterable[str], at_ms: int, cause: str = "ORDER") -> None:
        """Wallet and positions changed."""
        symbols, account = tuple(symbols), self.exchange.account
        self.views.put_account(symbols, at_ms)
        for symbol in symbols:
            mark = self.exchange.mark_price(symbol)
            held = rows.position(account.positions[symbol], self.name(symbol), mark, account)
            self._publish("account", held, symbol)
        self._publish("account", VenueBalance(VENUE, "USDT", account.wallet, None, None, time_ms=at_ms), "")

    def on_minute(self, symbol: str, candle: records.Candle) -> None:
        """A minute closed."""
        for wanted, timeframe in sorted(self.wanted):
            if wanted == symbol and (found := self._candles.closed(symbol, timeframe, candle)) is not None:
                self._push_candle(symbol, timeframe, found[0], closed=True)

    def _push_forming(self) -> None:
        for symbol, timeframe in sorted(self.wanted):
            if not self._candles.is_silent(symbol):
                self._push_candle(symbol, timeframe, self._candles.open(symbol, timeframe)[0], closed=False)

    def _push_candle(self, symbol: str, timeframe: str, candle: records.Candle, closed: bool) -> None:
        row = rows.candle(candle, self.exchange.instruments[symbol], self.name(symbol), timeframe, closed)
        self._publish("candle", row, symbol, (symbol, timeframe))

    def _publish(self, kind: str, push: Push, symbol: str, candles: tuple[str, str] | None = None) -> None:
        """On its way, unless a fault says otherwise."""
        fate = self.script.push(self.now_ms, f"{kind} {symbol}")
        self.play(fate.then)

        def arrive() -> None:
            for client in list(self.clients):
                client.hear(push, candles)

        for _ in range(fate.times):
            self.after(self.lags.stream() + fate.delay_ms, arrive)

    # -- names ------------------------------------------------------------------------------------------------------

    def name(self, symbol: str) -> InstrumentId:
        """The domain's name of a symbol."""
        listed = self.exchange.instruments[symbol]
        return InstrumentId(VENUE, f"{listed.base}/{listed.quote}:{listed.quote}")

    def seen(self) -> Totals:
        """The account as it looks now."""
        return seen_totals(self.exchange, self.views)


INTERVALS = TIMEFRAMES
"""The timeframes that can be watched."""
