"""Leverage, margin mode and position mode, each with its own code for nothing to change."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tradingd.emulator.bybit.account_api import is_isolated
from tradingd.emulator.bybit.desk import Desk
from tradingd.emulator.bybit.errors import VenueError, invalid
from tradingd.emulator.bybit.params import Params
from tradingd.emulator.bybit.payloads import Json
from tradingd.emulator.core.instruments import Filters


def set_leverage(desk: Desk, params: Params) -> Json:
    """POST /v5/position/set-leverage: both sides the same, in whole steps here."""
    instrument = desk.instrument(params)
    buy, sell = params.need_number("buyLeverage"), params.need_number("sellLeverage")
    if buy != sell:
        raise VenueError(10001, "buy leverage not equal sell leverage in one-way mode")
    if buy < 1 or buy != int(buy):
        raise VenueError(10001, "leverage invalid: the built-in venue takes whole numbers from 1 on")
    if buy > instrument.max_leverage:
        raise VenueError(110013)
    account, symbol, leverage = desk.exchange.account, instrument.symbol, int(buy)
    former = account.leverage[symbol]
    if leverage == former:
        raise VenueError(110043)
    value = abs(account.positions[symbol].quantity) * desk.exchange.mark_price(symbol)
    if leverage > instrument.bracket(value).leverage:
        raise VenueError(110013)
    account.leverage[symbol] = leverage
    totals = desk.exchange.totals()
    if leverage < former and totals.bound > totals.free_equity:
        account.leverage[symbol] = former
        raise VenueError(110044)
    desk.ledger.set_meta(f"leverage/{symbol}", str(leverage))
    return {}


def switch_mode(desk: Desk, params: Params) -> Json:
    """POST /v5/position/switch-mode: 0 one-way, 3 hedge, whose orders are beyond this venue."""
    params.check_category()
    mode = params.integer("mode")
    if mode not in (0, 3):
        raise invalid("mode")
    if not params.has("symbol") and params.text("coin") != "USDT":
        raise VenueError(10001, "params error: symbol or coin is required")
    exchange = desk.exchange
    if exchange.account.is_hedged == (mode == 3):
        raise VenueError(110025)
    if any(position.quantity for position in exchange.account.positions.values()):
        raise VenueError(110024)
    if any(exchange.open_orders.values()) or exchange.triggers.count_waiting():
        raise VenueError(110028)
    exchange.account.is_hedged = mode == 3
    desk.ledger.set_meta("is_hedged", str(exchange.account.is_hedged).lower())
    return {}


def set_margin_mode(desk: Desk, params: Params) -> Json:
    """POST /v5/account/set-margin-mode: of the whole account; portfolio margin is not here."""
    mode = params.need("setMarginMode")
    if mode not in ("ISOLATED_MARGIN", "REGULAR_MARGIN"):
        raise invalid("setMarginMode")
    wanted, exchange = mode == "ISOLATED_MARGIN", desk.exchange
    if wanted == is_isolated(desk):
        raise VenueError(110026)
    held = any(position.quantity for position in exchange.account.positions.values())
    if held or any(exchange.open_orders.values()):
        raise VenueError(3400045)
    for symbol in exchange.account.isolated:
        exchange.account.isolated[symbol] = wanted
        desk.ledger.set_meta(f"isolated/{symbol}", str(int(wanted)))
    return {"reasons": []}


def add_margin(desk: Desk, params: Params) -> Json:
    """POST /v5/position/add-margin: to an isolated position, or from it when negative."""
    symbol = desk.instrument(params).symbol
    usdt = params.need_number("margin")
    account, totals = desk.exchange.account, desk.exchange.totals()
    position = account.positions[symbol]
    if not account.isolated[symbol] or not position.quantity:
        raise VenueError(10001, "margin of an isolated position only")
    room = position.isolated_usdt + min(Decimal(0), totals.symbols[symbol].unrealized)
    if usdt > totals.available or -usdt > room - totals.symbols[symbol].position_margin:
        raise VenueError(110044)
    account.set_apart(symbol, usdt)
    desk.ledger.put_position(account.positions[symbol])
    desk.exchange.liquidator.forget()
    desk.exchange.listener.on_account((symbol,), desk.now_ms, "MARGIN_TRANSFER")
    return {}


def restore_settings(desk: Desk) -> None:
    """Take over what the ledger keeps of settings and of filters that were changed."""
    desk.exchange.account.is_hedged = desk.ledger.meta("is_hedged") == "true"
    for symbol, instrument in desk.exchange.instruments.items():
        stored = desk.ledger.meta(f"filters/{symbol}")
        if stored is not None:
            desk.exchange.instruments[symbol] = msgspec.json.decode(stored, type=Filters).on(instrument)
