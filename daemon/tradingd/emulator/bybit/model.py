"""The built-in Bybit: what comes in and what the engine reports, handed on; time, and the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from random import Random

import msgspec

from tradingd.emulator.bybit import acts, meaning
from tradingd.emulator.bybit.account_api import position_row, wallet_row
from tradingd.emulator.bybit.desk import Attached, Desk
from tradingd.emulator.bybit.engine import Engine
from tradingd.emulator.bybit.gateway import Gateway
from tradingd.emulator.bybit.history_api import execution_row
from tradingd.emulator.bybit.limits import Limits
from tradingd.emulator.bybit.lookups import Entity, archive, is_over, row_of
from tradingd.emulator.bybit.params import WEEK_MS
from tradingd.emulator.bybit.payloads import funding_row, public_number
from tradingd.emulator.bybit.position_api import apply_attached, end_partner, restore_pairs
from tradingd.emulator.bybit.settings_api import restore_settings
from tradingd.emulator.bybit.streams import Streams
from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.core.lags import FOREVER_MS, Lagged, Lags
from tradingd.emulator.core.ledger import Ledger
from tradingd.emulator.core.model import HUMAN_KEY, HUMAN_SECRET, DialectModel
from tradingd.emulator.core.records import ZERO, Conditional, ConditionalStatus, Fill, Order
from tradingd.emulator.core.views import Views
from tradingd.emulator.wire import Frame, HttpRequest, HttpResponse, Meaning, Refusal


class BybitVenue(DialectModel[Desk]):
    """A `wire.VenueModel`: unmodified Bybit clients talk to it."""

    venue = "bybit"

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
        rng = Random(f"{seed}/bybit/{exchange.now_ms}")
        lags = Lags(rng, enabled=with_lags)
        limits = Limits(int(ledger.meta("ban") or 0))
        keys = {api_key: api_secret, HUMAN_KEY: HUMAN_SECRET}
        exchange.remembers_ids = True
        exchange.max_open_orders = 500
        exchange.triggers.max_waiting, exchange.triggers.one_close_per_side = 10**6, False
        views = Views(exchange.account, lags, unfilled_kept_ms=WEEK_MS)
        views.load(ledger.orders(), ledger.conditionals(), ledger.fills())
        streams = Streams(exchange, lags, rng, limits, keys.get, lambda: self._desk.clock_ms)
        desk = Desk(exchange, ledger, views, streams, limits, lags, rng, Engine(exchange, lags), account_id)
        super().__init__(desk, seed)
        self._load(ledger)
        restore_settings(self._desk)
        restore_pairs(self._desk)
        self._gateway = Gateway(self._desk, keys)
        exchange.listener = self

    def _load(self, ledger: Ledger) -> None:
        """What this dialect keeps beside the views; the list of recently closed orders begins empty."""
        desk = self._desk
        entities: list[Entity] = [*ledger.orders(), *ledger.conditionals()]
        for entity in entities:
            number = public_number(entity)
            if entity.client_order_id:
                desk.link_ids[entity.client_order_id] = number
            if is_over(entity):
                desk.archive.setdefault(number, Lagged(None)).put(0, entity)
        desk.attached.update(msgspec.json.decode(ledger.meta("attached") or "{}", type=dict[int, Attached]))
        fills = list(ledger.fills())
        for fill in fills:
            self._count(fill)
        for number, time_ms, symbol, _, usdt, _ in ledger.income(None, "FUNDING_FEE", 0, desk.now_ms, -1):
            held = sum(
                (fill.quantity * fill.side for fill in fills if fill.symbol == symbol and fill.time_ms <= time_ms), ZERO
            )
            candle = desk.exchange.feeds[symbol].candles("1m", None, time_ms, 1, desk.now_ms)[-1]
            price = desk.exchange.instruments[symbol].price(candle.open)
            desk.funding.append(funding_row(symbol, number, Decimal(usdt), held, price, time_ms))

    def _count(self, fill: Fill) -> None:
        """Fees of orders, and how much of a position each fill closed."""
        desk, signed = self._desk, fill.quantity * fill.side
        desk.fees[fill.order_id] = desk.fees.get(fill.order_id, ZERO) + fill.fee_usdt
        held = desk.running.get(fill.symbol, ZERO)
        if held * signed < 0:
            desk.closed[fill.trade_id] = min(abs(held), fill.quantity)
        desk.running[fill.symbol] = held + signed

    # -- REST ---------------------------------------------------------------------------------------------------

    @property
    def meaning(self) -> Meaning:
        """What this dialect's requests and frames are about."""
        return meaning

    def act(self, kind: str, values: Mapping[str, object]) -> str:
        """What the venue or a human does without being asked; it is in the ledger before anybody hears of it."""
        text = acts.play(self._desk, kind, values)
        self._desk.streams.flush()
        self.save()
        return text

    def handle(self, request: HttpRequest, lag_ms: int = 0, end_order_ms: int | None = None) -> HttpResponse:
        """Gateway checks, then the handler; the verdict is in the ledger before it leaves."""
        desk = self._desk
        desk.views.now_ms = FOREVER_MS if self.stands_still else desk.now_ms - lag_ms
        desk.end_next_in_ms = end_order_ms
        response = self._gateway.handle(request, is_counted=not self.stands_still)
        desk.end_next_in_ms = None
        desk.streams.flush()
        if request.method != "GET":
            self.save()
        return response

    # -- websocket ----------------------------------------------------------------------------------------------

    def open_session(self, path: str, query: str) -> int | Refusal:
        """A handshake."""
        return self._desk.streams.open(path)

    def on_frame(self, session: int, frame: str) -> list[Frame]:
        """A frame from a client."""
        desk, is_counted = self._desk, not self.stands_still
        answers, order = desk.streams.on_frame(session, frame)
        if order is None:
            return answers
        desk.views.now_ms = desk.now_ms if is_counted else FOREVER_MS
        known = desk.streams.sessions[session]
        answer = self._gateway.answer(order, known.is_known, known.connection, is_counted)
        desk.streams.flush()
        self.save()
        return [answer]

    # -- time ---------------------------------------------------------------------------------------------------

    def advance(self, to_ms: int) -> list[tuple[int, Frame]]:
        """Run to a venue time; what happened is in the ledger before anybody hears of it."""
        desk, exchange = self._desk, self._desk.exchange
        end_ms = min(to_ms, exchange.end_ms)
        while (due_ms := min(desk.streams.next_push_ms, desk.engine.next_ms)) <= end_ms:
            exchange.advance(due_ms)
            desk.engine.run(due_ms)
            if desk.streams.next_push_ms <= due_ms:
                desk.streams.push_open()
        exchange.advance(to_ms)
        desk.streams.flush()
        self.save(only_if_due=True)
        return desk.streams.due(exchange.now_ms)

    def settle(self) -> list[tuple[int, Frame]]:
        """Everything on its way arrives, although market time stands still."""
        desk = self._desk
        desk.engine.run(FOREVER_MS)
        desk.streams.flush()
        self.save(only_if_due=True)
        return desk.streams.due(FOREVER_MS)

    def next_event_ms(self) -> int:
        """When something is due next."""
        desk = self._desk
        return min(desk.exchange.next_event_ms(), desk.streams.next_event_ms(), desk.engine.next_ms)

    def set_time_scale(self, scale: float) -> None:
        """Receive windows, lags and limits are stretched by it."""
        self._desk.lags.scale = self._desk.limits.scale = scale

    def close(self) -> None:
        """Let the engine finish what was acknowledged, and write what is pending."""
        self._desk.engine.run(FOREVER_MS)
        super().close()

    def _kept(self) -> Iterator[tuple[str, str]]:
        if banned_until_ms := self._desk.limits.banned_until_ms:
            yield "ban", str(banned_until_ms)

    # -- what the engine reports --------------------------------------------------------------------------------

    def on_order(self, order: Order, execution: str, fill: Fill | None, at_ms: int) -> None:
        """Plain order changed."""
        desk = self._desk
        desk.views.put_order(order, at_ms)
        if fill is not None:
            desk.views.put_fill(fill, at_ms)
            self._count(fill)
            desk.streams.publish("execution", execution_row(desk, fill, desk.exchange.mark_price(fill.symbol)))
        if is_over(order):
            archive(desk, order, at_ms)
        desk.streams.publish("order", row_of(desk, order))
        if order.order_id in desk.attached:
            if fill is not None:
                apply_attached(desk, order)
            elif is_over(order):
                del desk.attached[order.order_id]
                desk.keep_attached()

    def on_conditional(self, order: Conditional, at_ms: int) -> None:
        """Conditional order changed; once it has fired, its child is told of in its place."""
        desk = self._desk
        desk.views.put_conditional(order, at_ms)
        if order.status in (ConditionalStatus.TRIGGERED, ConditionalStatus.FINISHED):
            return
        if order.status is ConditionalStatus.TRIGGERING:
            end_partner(desk, order)
        if is_over(order):
            archive(desk, order, at_ms)
        desk.streams.publish("order", row_of(desk, order))
        if not order.client_order_id and order.close_position:
            self._tell_positions((order.symbol,))

    def on_account(self, symbols: Iterable[str], at_ms: int, cause: str = "ORDER") -> None:
        """Wallet and positions changed."""
        desk = self._desk
        symbols = tuple(symbols)
        desk.views.put_account(symbols, at_ms)
        if cause == "FUNDING_FEE":
            self._tell_funding(at_ms)
        self._tell_positions(symbols)
        desk.streams.publish("wallet", wallet_row(desk, desk.exchange.totals()))

    def _tell_funding(self, at_ms: int) -> None:
        """The payments of this moment that were not told yet."""
        desk, exchange = self._desk, self._desk.exchange
        told = {row["seq"] for row in desk.funding}
        for number, time_ms, symbol, _, usdt, _ in desk.ledger.income(None, "FUNDING_FEE", at_ms, at_ms, 1000):
            if number not in told:
                row = funding_row(
                    symbol,
                    number,
                    Decimal(usdt),
                    exchange.account.positions[symbol].quantity,
                    exchange.mark_price(symbol),
                    time_ms,
                )
                desk.funding.append(row)
                desk.streams.publish("execution", row)

    def _tell_positions(self, symbols: Iterable[str]) -> None:
        exchange = self._desk.exchange
        totals = exchange.totals()
        for symbol in symbols:
            levels = list(exchange.triggers.waiting[symbol].values())
            self._desk.streams.publish(
                "position", position_row(self._desk, exchange.account.positions[symbol], totals, levels)
            )
