"""The built-in Binance USDT-M venue: what comes in and what the engine reports, handed on; time, and the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from random import Random

import msgspec

from tradingd.emulator.binance import acts, meaning, settings_api
from tradingd.emulator.binance.desk import Desk
from tradingd.emulator.binance.gateway import Gateway
from tradingd.emulator.binance.limits import Limits
from tradingd.emulator.binance.payloads import account_event, conditional_event, fill_event, order_event
from tradingd.emulator.binance.streams import Streams
from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.core.lags import FOREVER_MS, Lags
from tradingd.emulator.core.ledger import Ledger
from tradingd.emulator.core.model import HUMAN_KEY, HUMAN_SECRET, DialectModel
from tradingd.emulator.core.records import ZERO, Conditional, Fill, Order
from tradingd.emulator.core.views import Views
from tradingd.emulator.wire import Frame, HttpRequest, HttpResponse, Meaning, Refusal, json_text


class BinanceVenue(DialectModel[Desk]):
    """A `wire.VenueModel`: unmodified Binance clients talk to it."""

    venue = "binance"

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
        rng = Random(f"{seed}/binance/{exchange.now_ms}")
        lags = Lags(rng, enabled=with_lags)
        ban = (ledger.meta("ban") or "0 0").split()
        limits = Limits(int(ban[0]), int(ban[1]))
        views = Views(exchange.account, lags)
        views.load(ledger.orders(), ledger.conditionals(), ledger.fills())
        desk = Desk(exchange, ledger, views, Streams(exchange, lags, rng), limits, lags, rng, account_id)
        super().__init__(desk, seed)
        stored_keys = msgspec.json.decode(ledger.meta("listen_keys") or "{}", type=dict[str, int])
        self._desk.streams.restore_keys(stored_keys)
        settings_api.restore_settings(self._desk)
        self._gateway = Gateway(self._desk, {api_key: api_secret, HUMAN_KEY: HUMAN_SECRET})
        self._told_wallet = exchange.account.wallet
        exchange.listener = self

    # -- REST ---------------------------------------------------------------------------------------------------

    @property
    def meaning(self) -> Meaning:
        """What this dialect's requests and frames are about."""
        return meaning

    def act(self, kind: str, values: Mapping[str, object]) -> str:
        """What the venue or a human does without being asked; it is in the ledger before anybody hears of it."""
        text = acts.play(self._desk, kind, values)
        self.save()
        return text

    def handle(self, request: HttpRequest, lag_ms: int = 0, end_order_ms: int | None = None) -> HttpResponse:
        """Gateway checks in the venue's order, then the handler; the verdict is in the ledger before it leaves."""
        desk = self._desk
        desk.views.now_ms = FOREVER_MS if self.stands_still else desk.now_ms - lag_ms
        desk.exchange.end_next_in_ms = end_order_ms
        response = self._gateway.handle(request, is_counted=not self.stands_still)
        desk.exchange.end_next_in_ms = None
        if request.method != "GET":
            self.save()
        return response

    # -- websocket ----------------------------------------------------------------------------------------------

    def open_session(self, path: str, query: str) -> int | Refusal:
        """A handshake."""
        return self._desk.streams.open(path, query)

    def on_frame(self, session: int, frame: str) -> list[Frame]:
        """A frame from a client."""
        desk, is_counted = self._desk, not self.stands_still
        answers = desk.streams.on_frame(session, frame, is_counted)
        if answers or not desk.streams.is_for_orders(session):
            return answers
        desk.views.now_ms = desk.now_ms if is_counted else FOREVER_MS
        answer = self._gateway.answer(frame, is_counted)
        self.save()
        return [answer]

    # -- time ---------------------------------------------------------------------------------------------------

    def advance(self, to_ms: int) -> list[tuple[int, Frame]]:
        """Run to a venue time; what happened is in the ledger before anybody hears of it."""
        exchange, streams = self._desk.exchange, self._desk.streams
        while streams.next_push_ms <= min(to_ms, exchange.end_ms):
            exchange.advance(streams.next_push_ms)
            streams.push_open()
        exchange.advance(to_ms)
        self.save(only_if_due=True)
        return streams.due(exchange.now_ms)

    def settle(self) -> list[tuple[int, Frame]]:
        """Everything on its way arrives, although market time stands still."""
        return self._desk.streams.due(FOREVER_MS)

    def next_event_ms(self) -> int:
        """When something is due next."""
        return min(self._desk.exchange.next_event_ms(), self._desk.streams.next_event_ms())

    def set_time_scale(self, scale: float) -> None:
        """Receive windows, lags and protocol timers are stretched by it."""
        self._desk.lags.scale = scale

    def _kept(self) -> Iterator[tuple[str, str]]:
        limits = self._desk.limits
        yield "listen_keys", json_text(self._desk.streams.keys)
        if limits.bans:
            yield "ban", f"{limits.banned_until_ms} {limits.bans}"

    # -- what the engine reports --------------------------------------------------------------------------------

    def on_order(self, order: Order, execution: str, fill: Fill | None, at_ms: int) -> None:
        """Plain order changed."""
        desk = self._desk
        desk.views.put_order(order, at_ms)
        if fill is not None:
            desk.views.put_fill(fill, at_ms)
        if fill is not None and execution == "TRADE":
            desk.streams.publish_user(lambda event_ms: fill_event(order, fill, at_ms, event_ms))
        desk.streams.publish_user(lambda event_ms: order_event(order, execution, fill, at_ms, event_ms))

    def on_conditional(self, order: Conditional, at_ms: int) -> None:
        """Conditional order changed."""
        self._desk.views.put_conditional(order, at_ms)
        self._desk.streams.publish_user(lambda event_ms: conditional_event(order, at_ms, event_ms))

    def on_account(self, symbols: Iterable[str], at_ms: int, cause: str = "ORDER") -> None:
        """Wallet and positions changed."""
        desk, account = self._desk, self._desk.exchange.account
        symbols = tuple(symbols)
        desk.views.put_account(symbols, at_ms)
        rows = []
        for symbol in symbols:
            margin = account.margin(symbol, desk.exchange.mark_price(symbol), ())
            rows.append((account.positions[symbol], margin.unrealized, account.isolated[symbol]))
        wallet, change = account.wallet, account.wallet - self._told_wallet
        self._told_wallet = wallet
        cross = wallet - sum(position.isolated_usdt for position in account.positions.values())
        change = ZERO if cause == "ORDER" else change  # "bc" leaves out profit and commission
        desk.streams.publish_user(lambda event_ms: account_event(wallet, cross, change, cause, rows, at_ms, event_ms))
