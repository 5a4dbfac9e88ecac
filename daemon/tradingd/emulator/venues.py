"""Putting a built-in venue together: market, ledger, account, dialect; new, or as its ledger left it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec

from tradingd.emulator.binance.model import BinanceVenue
from tradingd.emulator.bybit.instruments import (
    BYBIT_INSTRUMENTS,
    DEFAULT_LEVERAGE,
    MAKER_FEE,
    TAKER_FEE,
)
from tradingd.emulator.bybit.model import BybitVenue
from tradingd.emulator.core.account import Account, money
from tradingd.emulator.core.exchange import Exchange, Ids
from tradingd.emulator.core.instruments import INSTRUMENTS, Instrument
from tradingd.emulator.core.ledger import Ledger, LedgerFault
from tradingd.emulator.core.market import MAX_CANDLES, MINUTE_MS, Feed, Minute, Source, candle_prices
from tradingd.emulator.core.market_file import FileMarket
from tradingd.emulator.core.market_synthetic import SyntheticMarket
from tradingd.emulator.core.records import Candle
from tradingd.emulator.direct.model import DirectModel
from tradingd.emulator.wire import VenueModel

LEDGER_FILE = "ledger.db"
DEFAULT_KEY = "sim-key"
DEFAULT_SECRET = "sim-secret"


class VenueOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that makes one venue; `history` counts one-minute candles before the start.

    `leftover_on_close`: close-position orders outlive their position. `remembers_ids`: a client id is unique among all
    orders, not among open ones only. What the real venue does is disputed in both cases; the defaults are the harder.
    `funding_rate`: one rate for all symbols and times; without it the seed draws them.
    """

    venue: str = "binance"
    candles: Mapping[str, Path] = {}
    symbols: tuple[str, ...] = ()
    state_dir: Path | None = None
    seed: int = 1
    history: int | None = None
    balance_usdt: Decimal = Decimal(10_000)
    api_key: str = DEFAULT_KEY
    api_secret: str = DEFAULT_SECRET
    allow_gaps: bool = False
    with_lags: bool = True
    leftover_on_close: bool = True
    remembers_ids: bool = False
    funding_rate: Decimal | None = None


class _Restored(msgspec.Struct):
    minute: Minute
    finished: bool
    source: str


def parse_candles(text: str) -> tuple[str, Path]:
    """`FILE` is a market for BTCUSDT, `SYMBOL=FILE` for another symbol."""
    symbol, mark, path = text.partition("=")
    if not mark:
        return "BTCUSDT", Path(text)
    if symbol not in INSTRUMENTS:
        raise ValueError(f"unknown symbol {symbol!r}; the built-in venue lists {', '.join(INSTRUMENTS)}")
    return symbol, Path(path)


VENUES = ("binance", "bybit")
_M = TypeVar("_M", BinanceVenue, BybitVenue, DirectModel)


def open_model(options: VenueOptions, now_ms: int) -> VenueModel:
    """Build the venue that the options name, or take it up where its ledger ends; see `open_venue`."""
    if options.venue == "bybit":
        return open_bybit(options, now_ms)
    return open_venue(options, now_ms)


def open_venue(options: VenueOptions, now_ms: int) -> BinanceVenue:
    """Build the built-in Binance; `now_ms` is where a new synthetic market starts.

    Raises MarketFault for a candle file and LedgerFault for a ledger that cannot be used.
    """
    if options.venue != "binance":
        raise ValueError(f"no built-in venue {options.venue!r}; there are: {', '.join(VENUES)}")
    return _open(options, now_ms, INSTRUMENTS, Account, BinanceVenue)


def open_bybit(options: VenueOptions, now_ms: int) -> BybitVenue:
    """Build the built-in Bybit; the rest is as with `open_venue`."""

    def account(instruments: dict[str, Instrument], wallet: Decimal) -> Account:
        return Account(instruments, wallet, TAKER_FEE, MAKER_FEE, DEFAULT_LEVERAGE)

    venue = _open(options, now_ms, BYBIT_INSTRUMENTS, account, BybitVenue)
    if venue.now_ms == now_ms // MINUTE_MS * MINUTE_MS and not venue.stands_still:
        venue.advance(now_ms)  # a market begins with a minute, but websocket orders need a clock that is right
    return venue


def open_direct(options: VenueOptions, now_ms: int) -> DirectModel:
    """Build the engine for the direct face; the rest is as with `open_venue`."""
    return _open(options, now_ms, INSTRUMENTS, Account, DirectModel)


def _open(
    options: VenueOptions,
    now_ms: int,
    listed: Mapping[str, Instrument],
    make_account: Callable[[dict[str, Instrument], Decimal], Account],
    make_model: Callable[[Exchange, Ledger, int, str, str, str, bool], _M],
) -> _M:
    path = None
    if options.state_dir is not None:
        options.state_dir.mkdir(parents=True, exist_ok=True)
        path = options.state_dir / LEDGER_FILE
    ledger = Ledger(path)
    try:
        exchange, is_new = _exchange(options, now_ms, ledger, path, listed, make_account)
        venue = make_model(
            exchange,
            ledger,
            options.seed,
            ledger.meta("account") or "",
            options.api_key,
            options.api_secret,
            options.with_lags,
        )
        if is_new:
            for symbol in exchange.feeds:
                ledger.set_meta(f"market/{symbol}", exchange.market_state(symbol))
            venue.save()
        else:
            _restore_orders(ledger, exchange)
    except BaseException:
        ledger.abandon()
        raise
    return venue


def _exchange(
    options: VenueOptions,
    now_ms: int,
    ledger: Ledger,
    path: Path | None,
    listed: Mapping[str, Instrument],
    make_account: Callable[[dict[str, Instrument], Decimal], Account],
) -> tuple[Exchange, bool]:
    """The engine with its market and account, and whether it is new."""
    stored_start = ledger.meta("start_ms")
    is_new = stored_start is None
    instruments, source = _market(options, now_ms if stored_start is None else int(stored_start), listed)
    if is_new:
        _write_identity(options, ledger, source)
    else:
        _check_identity(options, ledger, source, path)
    feeds = {symbol: _feed(ledger, source, instruments[symbol], is_new) for symbol in source.symbols}
    account = make_account(instruments, Decimal(ledger.meta("wallet") or options.balance_usdt))
    exchange = Exchange(
        source, instruments, account, ledger, options.seed, int(ledger.meta("now_ms") or source.start_ms), feeds
    )
    exchange.leftover_on_close = options.leftover_on_close
    exchange.remembers_ids = options.remembers_ids
    exchange.funding.fixed_rate = options.funding_rate
    if not is_new:
        _restore_account(ledger, exchange)
    return exchange, is_new


def _market(
    options: VenueOptions,
    start_ms: int,
    listed: Mapping[str, Instrument],
) -> tuple[dict[str, Instrument], Source]:
    if options.candles:
        instruments = {symbol: listed[symbol] for symbol in options.candles}
        history = 300 if options.history is None else options.history
        return instruments, FileMarket(options.candles, instruments, history, options.seed, options.allow_gaps)
    instruments = {symbol: listed[symbol] for symbol in options.symbols or listed}
    history = 1500 if options.history is None else options.history
    return instruments, SyntheticMarket(instruments, start_ms, options.seed, history)


def _identity(options: VenueOptions, source: Source) -> str:
    files = {symbol: path.name for symbol, path in options.candles.items()}
    venue = {} if options.venue == "binance" else {"venue": options.venue}  # ledgers are older than the second venue
    return msgspec.json.encode(
        {"market": source.kind, "seed": options.seed, "symbols": sorted(source.symbols), "files": files, **venue}
    ).decode()


def _in_words(identity: str | None) -> str:
    if identity is None:
        return "one that it does not name"
    told = msgspec.json.decode(identity)
    symbols = told["files"] or dict.fromkeys(told["symbols"])
    of = ", ".join(f"{symbol} from {file}" if file else symbol for symbol, file in symbols.items())
    of_venue = f" of {told['venue']}" if "venue" in told else ""
    return f"{told['market']} candles{of_venue}, {of}, seed {told['seed']}"


def _write_identity(options: VenueOptions, ledger: Ledger, source: Source) -> None:
    ledger.set_meta("start_ms", str(source.start_ms))
    ledger.set_meta("identity", _identity(options, source))
    ledger.set_meta("account", f"sim{options.seed:x}{source.start_ms:x}")
    ledger.set_meta("start_balance", str(options.balance_usdt))
    ledger.set_meta("wallet", str(options.balance_usdt))


def _check_identity(options: VenueOptions, ledger: Ledger, source: Source, path: Path | None) -> None:
    stored, wanted = ledger.meta("identity"), _identity(options, source)
    if stored != wanted:
        raise LedgerFault(
            f"{path}: belongs to another market: {_in_words(stored)}; asked for is {_in_words(wanted)}. "
            "`tradingd run --fresh` discards it, or give the former market"
        )


def _feed(ledger: Ledger, source: Source, instrument: Instrument, is_new: bool) -> Feed:
    symbol = instrument.symbol
    history = source.history(symbol)
    stored = ledger.meta(f"market/{symbol}")
    if is_new or stored is None:
        for candle in history if source.kind == "synthetic" else ():
            ledger.add_candle(symbol, candle, candle_prices(candle, instrument))
        minute = source.next_minute(symbol, history[-1], history[-1].close)
        assert minute is not None, "a market has at least one minute after its history"
        return Feed(instrument, source, history, minute)
    restored = msgspec.json.decode(stored, type=_Restored)
    source.restore(symbol, restored.source)
    start_ms = history[0].open_ms
    closed = {candle.open_ms: candle for candle in history}
    for row in ledger.candles(symbol, MAX_CANDLES):
        prices = [instrument.ticks(Decimal(price)) for price in row[1:5]]
        closed[row[0]] = Candle(row[0], prices[0], prices[1], prices[2], prices[3], row[5], row[6])
    rows = [closed[open_ms] for open_ms in sorted(closed) if start_ms <= open_ms < restored.minute.open_ms]
    return Feed(instrument, source, rows, restored.minute, restored.finished)


def _restore_account(ledger: Ledger, exchange: Exchange) -> None:
    account = exchange.account
    for position in ledger.positions():
        account.positions[position.symbol] = position
    for symbol in exchange.instruments:
        leverage, isolated = ledger.meta(f"leverage/{symbol}"), ledger.meta(f"isolated/{symbol}")
        if leverage is not None:
            account.leverage[symbol] = int(leverage)
        account.isolated[symbol] = isolated == "1"
        position = account.positions[symbol]
        if account.isolated[symbol] and position.quantity and ledger.meta(f"isolated_usdt/{symbol}") is None:
            # an older version set nothing apart
            initial = abs(position.quantity) * position.entry_price / account.leverage[symbol]
            account.set_apart(symbol, money(initial))
    exchange.ids = msgspec.json.decode(ledger.meta("ids") or "{}", type=Ids)


def _restore_orders(ledger: Ledger, exchange: Exchange) -> None:
    for order in ledger.orders():
        exchange.orders[order.order_id] = order
        if order.is_open:
            exchange.open_orders[order.symbol][order.order_id] = order
    exchange.fills.extend(ledger.fills())
    for conditional in ledger.conditionals():
        exchange.triggers.restore(conditional, exchange.orders.get(conditional.child_order_id))
    exchange.resume()
