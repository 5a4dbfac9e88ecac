"""Account over REST: balances, positions, modes, income, listen keys. What it shows lags behind the truth."""

from __future__ import annotations

from decimal import Decimal

from tradingd.emulator.binance.desk import Desk
from tradingd.emulator.binance.errors import VenueError
from tradingd.emulator.binance.order_api import WEEK_MS
from tradingd.emulator.binance.params import Params
from tradingd.emulator.binance.payloads import Json, plain
from tradingd.emulator.core.account import MAKER_FEE, TAKER_FEE, SymbolMargin
from tradingd.emulator.core.records import ZERO, Position


class _Totals:
    """Visible figures of the whole account."""

    def __init__(self, desk: Desk) -> None:
        self.wallet = desk.views.wallet
        self.symbols: dict[str, tuple[Position, Decimal, SymbolMargin]] = {}
        for symbol in desk.exchange.feeds:
            orders = desk.views.open_orders(symbol)
            position = desk.views.position(symbol)
            mark = desk.exchange.mark_price(symbol)
            margin = desk.exchange.account.margin(symbol, mark, orders, position)
            if position.quantity or orders:
                self.symbols[symbol] = (position, mark, margin)
        margins = [margin for _, _, margin in self.symbols.values()]
        self.unrealized = sum((margin.unrealized for margin in margins), ZERO)
        self.position_margin = sum((margin.position_margin for margin in margins), ZERO)
        self.order_margin = sum((margin.order_margin for margin in margins), ZERO)
        self.maintenance = sum((margin.maintenance for margin in margins), ZERO)
        self.initial = self.position_margin + self.order_margin
        self.equity = self.wallet + self.unrealized
        self.available = max(ZERO, self.equity - self.initial)


def _money(value: Decimal) -> str:
    return f"{value:.8f}"


def account(desk: Desk, params: Params) -> Json:
    """GET /fapi/v3/account: positions only of symbols with a position or an open order."""
    totals = _Totals(desk)
    return {**_summary(totals), "assets": [_asset(desk, totals)],
            "positions": [_account_position(desk, symbol, *figures) for symbol, figures in totals.symbols.items()]}


def account_v2(desk: Desk, params: Params) -> Json:
    """GET /fapi/v2/account: all symbols, with leverage."""
    totals = _Totals(desk)
    rows = []
    for symbol in desk.exchange.feeds:
        row = _account_position(desk, symbol, *_figures(desk, totals, symbol))
        held = desk.exchange.account
        row.update(leverage=str(held.leverage[symbol]), isolated=held.isolated[symbol],
                   entryPrice=plain(desk.views.position(symbol).entry_price), maxNotional="250000",
                   bidNotional="0", askNotional="0")
        rows.append(row)
    return {"feeTier": 0, "feeBurn": False, "canTrade": True, "canDeposit": True, "canWithdraw": False, "updateTime": 0,
            "multiAssetsMargin": False, "tradeGroupId": -1, **_summary(totals), "assets": [_asset(desk, totals)],
            "positions": rows}


def _figures(desk: Desk, totals: _Totals, symbol: str) -> tuple[Position, Decimal, SymbolMargin]:
    known = totals.symbols.get(symbol)
    if known is not None:
        return known
    mark, position = desk.exchange.mark_price(symbol), desk.views.position(symbol)
    return position, mark, desk.exchange.account.margin(symbol, mark, (), position)


def _summary(totals: _Totals) -> Json:
    return {
        "totalInitialMargin": _money(totals.initial), "totalMaintMargin": _money(totals.maintenance),
        "totalWalletBalance": _money(totals.wallet), "totalUnrealizedProfit": _money(totals.unrealized),
        "totalMarginBalance": _money(totals.equity), "totalPositionInitialMargin": _money(totals.position_margin),
        "totalOpenOrderInitialMargin": _money(totals.order_margin), "totalCrossWalletBalance": _money(totals.wallet),
        "totalCrossUnPnl": _money(totals.unrealized), "availableBalance": _money(totals.available),
        "maxWithdrawAmount": _money(min(totals.available, totals.wallet)),
    }


def _asset(desk: Desk, totals: _Totals) -> Json:
    return {
        "asset": "USDT", "walletBalance": _money(totals.wallet), "unrealizedProfit": _money(totals.unrealized),
        "marginBalance": _money(totals.equity), "maintMargin": _money(totals.maintenance),
        "initialMargin": _money(totals.initial), "positionInitialMargin": _money(totals.position_margin),
        "openOrderInitialMargin": _money(totals.order_margin), "crossWalletBalance": _money(totals.wallet),
        "crossUnPnl": _money(totals.unrealized), "availableBalance": _money(totals.available),
        "maxWithdrawAmount": _money(min(totals.available, totals.wallet)), "marginAvailable": True,
        "updateTime": desk.now_ms,
    }


def _account_position(desk: Desk, symbol: str, position: Position, mark: Decimal, margin: SymbolMargin) -> Json:
    isolated = desk.exchange.account.isolated[symbol]
    return {
        "symbol": symbol, "positionSide": "BOTH", "positionAmt": plain(position.quantity),
        "unrealizedProfit": _money(margin.unrealized),
        "isolatedMargin": _money(margin.position_margin + margin.unrealized) if isolated else "0",
        "notional": _money(margin.notional), "isolatedWallet": _money(margin.position_margin) if isolated else "0",
        "initialMargin": _money(margin.initial), "maintMargin": _money(margin.maintenance),
        "positionInitialMargin": _money(margin.position_margin), "openOrderInitialMargin": _money(margin.order_margin),
        "updateTime": position.updated_ms,
    }


def balance(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v3/balance and v2."""
    totals = _Totals(desk)
    return [{
        "accountAlias": desk.account_id, "asset": "USDT", "balance": _money(totals.wallet),
        "crossWalletBalance": _money(totals.wallet), "crossUnPnl": _money(totals.unrealized),
        "availableBalance": _money(totals.available), "maxWithdrawAmount": _money(min(totals.available, totals.wallet)),
        "marginAvailable": True, "updateTime": desk.now_ms,
    }]


def position_risk(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v3/positionRisk: symbols with a position or an open order."""
    symbol = desk.symbol_filter(params)
    totals = _Totals(desk)
    return [_risk(desk, each, totals) for each in totals.symbols if symbol in (None, each)]


def position_risk_v2(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v2/positionRisk: all symbols, with leverage and margin type."""
    symbol = desk.symbol_filter(params)
    totals = _Totals(desk)
    held = desk.exchange.account
    return [
        {**_risk(desk, each, totals), "leverage": str(held.leverage[each]), "maxNotionalValue": "250000",
         "marginType": "isolated" if held.isolated[each] else "cross", "isAutoAddMargin": "false", "adlQuantile": 1}
        for each in desk.exchange.feeds if symbol in (None, each)
    ]


def _risk(desk: Desk, symbol: str, totals: _Totals) -> Json:
    position, mark, margin = _figures(desk, totals, symbol)
    row = _account_position(desk, symbol, position, mark, margin)
    del row["unrealizedProfit"]
    digits = desk.exchange.instruments[symbol].price_digits
    return {
        **row, "entryPrice": plain(position.entry_price), "breakEvenPrice": plain(position.entry_price),
        "markPrice": f"{mark:.8f}", "unRealizedProfit": _money(margin.unrealized),
        "liquidationPrice": f"{_liquidation_price(position, margin, totals):.{digits}f}", "marginAsset": "USDT",
        "adl": 1, "bidNotional": "0", "askNotional": "0",
    }


def _liquidation_price(position: Position, margin: SymbolMargin, totals: _Totals) -> Decimal:
    """Where equity meets maintenance margin if only this symbol moves; zero when that is nowhere."""
    if not position.quantity:
        return ZERO
    spare = totals.equity - totals.maintenance
    price = margin.notional / position.quantity - spare / position.quantity
    return max(ZERO, price)


# -- settings ---------------------------------------------------------------------------------------------------


def set_leverage(desk: Desk, params: Params) -> Json:
    """POST /fapi/v1/leverage."""
    instrument = desk.instrument(params)
    leverage = params.need_integer("leverage")
    if not 1 <= leverage <= instrument.max_leverage:
        raise VenueError(-4028, f"Leverage {leverage} is not valid")
    held = desk.exchange.account
    if held.isolated[instrument.symbol] and held.positions[instrument.symbol].quantity and (
            leverage < held.leverage[instrument.symbol]):
        raise VenueError(-4161, "Leverage reduction is not supported in Isolated Margin Mode with open positions.")
    held.leverage[instrument.symbol] = leverage
    desk.ledger.set_meta(f"leverage/{instrument.symbol}", str(leverage))
    at_ms, symbol = desk.now_ms, instrument.symbol
    desk.streams.publish_user(lambda event_ms: {"e": "ACCOUNT_CONFIG_UPDATE", "E": event_ms, "T": at_ms,
                                                "ac": {"s": symbol, "l": leverage}})
    cap = min((bracket.cap_usdt for bracket in instrument.brackets if bracket.leverage <= leverage),
              default=instrument.brackets[-1].cap_usdt)
    return {"symbol": instrument.symbol, "leverage": leverage, "maxNotionalValue": str(cap)}


def set_margin_type(desk: Desk, params: Params) -> Json:
    """POST /fapi/v1/marginType."""
    instrument = desk.instrument(params)
    kind = params.need("marginType").upper()
    if kind not in ("ISOLATED", "CROSSED", "CROSS"):
        raise VenueError(-1102, "Mandatory parameter 'marginType' was not sent, was empty/null, or malformed.")
    held, symbol = desk.exchange.account, instrument.symbol
    isolated = kind == "ISOLATED"
    if held.isolated[symbol] == isolated:
        raise VenueError(-4046)
    if desk.exchange.open_orders[symbol] or desk.exchange.triggers.waiting[symbol]:
        raise VenueError(-4047)
    if held.positions[symbol].quantity:
        raise VenueError(-4048)
    held.isolated[symbol] = isolated
    desk.ledger.set_meta(f"isolated/{symbol}", str(int(isolated)))
    return {"code": 200, "msg": "success"}


def position_mode(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/positionSide/dual: always one-way."""
    return {"dualSidePosition": False}


def set_position_mode(desk: Desk, params: Params) -> Json:
    """POST /fapi/v1/positionSide/dual: one-way is all this venue offers."""
    if params.need("dualSidePosition").lower() != "true":
        raise VenueError(-4059)
    if any(desk.exchange.open_orders.values()) or desk.exchange.triggers.count_waiting():
        raise VenueError(-4067)
    if any(position.quantity for position in desk.exchange.account.positions.values()):
        raise VenueError(-4068)
    raise VenueError(-4060, "Hedge mode is not offered by the built-in venue.")


def symbol_config(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v1/symbolConfig."""
    symbol, held = desk.symbol_filter(params), desk.exchange.account
    return [
        {"symbol": each, "marginType": "ISOLATED" if held.isolated[each] else "CROSSED", "isAutoAddMargin": False,
         "leverage": held.leverage[each], "maxNotionalValue": "1000000"}
        for each in desk.exchange.feeds if symbol in (None, each)
    ]


def account_config(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/accountConfig."""
    return {"feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": False, "dualSidePosition": False,
            "updateTime": 0, "multiAssetsMargin": False, "tradeGroupId": -1}


def commission_rate(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/commissionRate."""
    return {"symbol": desk.instrument(params).symbol, "makerCommissionRate": plain(MAKER_FEE),
            "takerCommissionRate": plain(TAKER_FEE)}


def leverage_bracket(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v1/leverageBracket."""
    symbol = desk.symbol_filter(params)
    return [
        {"symbol": each, "notionalCoef": 1.0, "brackets": [
            {"bracket": number, "initialLeverage": step.leverage, "notionalCap": step.cap_usdt,
             "notionalFloor": step.floor_usdt, "maintMarginRatio": float(step.maintenance_fraction),
             "cum": float(step.cumulative_usdt)}
            for number, step in enumerate(desk.exchange.instruments[each].brackets, start=1)]}
        for each in desk.exchange.feeds if symbol in (None, each)
    ]


def income(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v1/income: realised profit and fees, oldest first."""
    start_ms, end_ms = params.integer("startTime"), params.integer("endTime")
    end_ms = desk.now_ms if end_ms is None else end_ms
    rows = desk.ledger.income(desk.symbol_filter(params), params.text("incomeType"),
                              end_ms - WEEK_MS if start_ms is None else start_ms, end_ms, params.limit(100, 1000))
    return [{"symbol": symbol, "incomeType": kind, "income": usdt, "asset": "USDT", "info": kind, "time": time_ms,
             "tranId": number, "tradeId": str(trade_id or "")}
            for number, time_ms, symbol, kind, usdt, trade_id in rows]


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
