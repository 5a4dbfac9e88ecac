"""Settings of the account over REST: leverage, margin, position mode, and listen keys."""

from __future__ import annotations

import msgspec

from tradingd.emulator.binance.desk import Desk
from tradingd.emulator.binance.errors import VenueError
from tradingd.emulator.binance.params import Params
from tradingd.emulator.binance.payloads import Json
from tradingd.emulator.core.instruments import Filters
from tradingd.emulator.core.records import ZERO


def set_leverage(desk: Desk, params: Params) -> Json:
    """POST /fapi/v1/leverage."""
    instrument = desk.instrument(params)
    leverage = params.need_integer("leverage")
    if not 1 <= leverage <= instrument.max_leverage:
        raise VenueError(-4028, f"Leverage {leverage} is not valid")
    held, symbol = desk.exchange.account, instrument.symbol
    former, position = held.leverage[symbol], held.positions[symbol]
    if held.isolated[symbol] and position.quantity and leverage < former:
        raise VenueError(-4161)
    if leverage > instrument.bracket(abs(position.quantity) * desk.exchange.mark_price(symbol)).leverage:
        raise VenueError(-2027)
    held.leverage[symbol] = leverage
    totals = desk.exchange.totals()
    if leverage < former and totals.bound > totals.free_equity:
        held.leverage[symbol] = former
        raise VenueError(-2028)
    desk.ledger.set_meta(f"leverage/{symbol}", str(leverage))
    at_ms = desk.now_ms
    desk.streams.publish_user(
        lambda event_ms: {"e": "ACCOUNT_CONFIG_UPDATE", "E": event_ms, "T": at_ms, "ac": {"s": symbol, "l": leverage}}
    )
    return {"symbol": symbol, "leverage": leverage, "maxNotionalValue": str(instrument.cap_usdt(leverage))}


def set_margin_type(desk: Desk, params: Params) -> Json:
    """POST /fapi/v1/marginType."""
    symbol = desk.instrument(params).symbol
    kind = params.need("marginType").upper()
    if kind not in ("ISOLATED", "CROSSED"):
        raise VenueError(-1102, "Mandatory parameter 'marginType' was not sent, was empty/null, or malformed.")
    held, isolated = desk.exchange.account, kind == "ISOLATED"
    if held.isolated[symbol] == isolated:
        raise VenueError(-4046)
    if desk.exchange.open_orders[symbol] or desk.exchange.triggers.waiting[symbol]:
        raise VenueError(-4047)
    if held.positions[symbol].quantity:
        raise VenueError(-4048)
    held.isolated[symbol] = isolated
    desk.ledger.set_meta(f"isolated/{symbol}", str(int(isolated)))
    return {"code": 200, "msg": "success"}


def change_position_margin(desk: Desk, params: Params) -> Json:
    """POST /fapi/v1/positionMargin: type 1 adds to an isolated position, 2 takes away."""
    symbol = desk.instrument(params).symbol
    usdt, kind = params.need_number("amount"), params.need_integer("type")
    held = desk.exchange.account
    position = held.positions[symbol]
    if usdt <= 0:
        raise VenueError(-4055, "Amount must be positive.")
    if kind not in (1, 2):
        raise VenueError(-1130, "Data sent for parameter 'type' is not valid.")
    if not held.isolated[symbol]:
        raise VenueError(-4049, "Add margin only support for isolated position.")
    if not position.quantity:
        raise VenueError(-4054, "Cannot add position margin: position is 0.")
    totals = desk.exchange.totals()
    if kind == 1 and usdt > totals.available:
        raise VenueError(-4050, "Cross balance insufficient.")
    margin = totals.symbols[symbol]
    if kind == 2 and usdt > position.isolated_usdt + min(ZERO, margin.unrealized) - margin.position_margin:
        raise VenueError(-4051, "Isolated balance insufficient.")
    held.set_apart(symbol, usdt if kind == 1 else -usdt)
    desk.ledger.put_position(held.positions[symbol])
    desk.exchange.liquidator.forget()
    desk.exchange.listener.on_account((symbol,), desk.now_ms, "MARGIN_TRANSFER")
    return {"amount": float(usdt), "code": 200, "msg": "Successfully modify position margin.", "type": kind}


def position_mode(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/positionSide/dual."""
    return {"dualSidePosition": desk.exchange.account.is_hedged}


def set_position_mode(desk: Desk, params: Params) -> Json:
    """POST /fapi/v1/positionSide/dual: hedge mode can be switched on, but its orders are beyond this venue."""
    wanted = params.need("dualSidePosition").lower()
    if wanted not in ("true", "false"):
        raise VenueError(-1102, "Mandatory parameter 'dualSidePosition' was not sent, was empty/null, or malformed.")
    if desk.exchange.account.is_hedged == (wanted == "true"):
        raise VenueError(-4059)
    if any(desk.exchange.open_orders.values()) or desk.exchange.triggers.count_waiting():
        raise VenueError(-4067)
    if any(position.quantity for position in desk.exchange.account.positions.values()):
        raise VenueError(-4068)
    desk.exchange.account.is_hedged = wanted == "true"
    desk.ledger.set_meta("is_hedged", wanted)
    return {"code": 200, "msg": "success"}


def restore_settings(desk: Desk) -> None:
    """Take over what the ledger keeps of settings and of filters that were changed."""
    desk.exchange.account.is_hedged = desk.ledger.meta("is_hedged") == "true"
    for symbol, instrument in desk.exchange.instruments.items():
        stored = desk.ledger.meta(f"filters/{symbol}")
        if stored is not None:
            changes = msgspec.json.decode(stored, type=Filters)
            desk.exchange.instruments[symbol] = changes.on(instrument)


# -- listen key -------------------------------------------------------------------------------------------------


def issue_listen_key(desk: Desk, params: Params) -> Json:
    """POST /fapi/v1/listenKey: a valid key is given again, its hour begins anew."""
    return {"listenKey": desk.streams.issue_key()}


def extend_listen_key(desk: Desk, params: Params) -> Json:
    """PUT /fapi/v1/listenKey."""
    if not desk.streams.keys:
        raise VenueError(-1125)
    return {"listenKey": desk.streams.issue_key()}


def drop_listen_key(desk: Desk, params: Params) -> Json:
    """DELETE /fapi/v1/listenKey."""
    for key in list(desk.streams.keys):
        desk.streams.drop_key(key)
    return {}
