"""Account over REST: balances, positions, modes, income, listen keys. What it shows lags behind the truth."""

from __future__ import annotations

from decimal import Decimal

from tradingd.emulator.binance.desk import Desk
from tradingd.emulator.binance.order_api import WEEK_MS
from tradingd.emulator.binance.params import Params
from tradingd.emulator.binance.payloads import Json, plain
from tradingd.emulator.core.account import MAKER_FEE, TAKER_FEE, SymbolMargin, Totals
from tradingd.emulator.core.records import ZERO
from tradingd.emulator.core.views import seen_totals


def _totals(desk: Desk) -> Totals:
    return seen_totals(desk.exchange, desk.views)


def _cap(desk: Desk, symbol: str) -> str:
    return str(desk.exchange.instruments[symbol].cap_usdt(desk.exchange.account.leverage[symbol]))


def _money(value: Decimal) -> str:
    return f"{value:.8f}"


def account(desk: Desk, params: Params) -> Json:
    """GET /fapi/v3/account: positions only of symbols with a position or an open order."""
    totals = _totals(desk)
    return {
        **_summary(totals),
        "assets": [_asset(desk, totals)],
        "positions": [_account_position(desk, symbol, totals) for symbol in totals.symbols],
    }


def account_v2(desk: Desk, params: Params) -> Json:
    """GET /fapi/v2/account: all symbols, with leverage."""
    totals = _totals(desk)
    rows = []
    for symbol in desk.exchange.feeds:
        row = _account_position(desk, symbol, totals)
        held = desk.exchange.account
        row.update(
            leverage=str(held.leverage[symbol]),
            isolated=held.isolated[symbol],
            entryPrice=plain(desk.views.position(symbol).entry_price),
            maxNotional=_cap(desk, symbol),
            bidNotional="0",
            askNotional="0",
        )
        rows.append(row)
    return {
        "feeTier": 0,
        "feeBurn": False,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": False,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
        **_summary(totals),
        "assets": [_asset(desk, totals)],
        "positions": rows,
    }


def _margin(desk: Desk, totals: Totals, symbol: str) -> SymbolMargin:
    known = totals.symbols.get(symbol)
    if known is not None:
        return known
    return desk.exchange.account.margin(symbol, desk.exchange.mark_price(symbol), (), desk.views.position(symbol))


def _summary(totals: Totals) -> Json:
    return {
        "totalInitialMargin": _money(totals.initial),
        "totalMaintMargin": _money(totals.maintenance),
        "totalWalletBalance": _money(totals.wallet),
        "totalUnrealizedProfit": _money(totals.unrealized),
        "totalMarginBalance": _money(totals.equity),
        "totalPositionInitialMargin": _money(totals.position_margin),
        "totalOpenOrderInitialMargin": _money(totals.order_margin),
        "totalCrossWalletBalance": _money(totals.cross_wallet),
        "totalCrossUnPnl": _money(totals.cross_unrealized),
        "availableBalance": _money(totals.available),
        "maxWithdrawAmount": _money(_withdrawable(totals)),
    }


def _withdrawable(totals: Totals) -> Decimal:
    return max(ZERO, min(totals.available, totals.cross_wallet))


def _asset(desk: Desk, totals: Totals) -> Json:
    return {
        "asset": "USDT",
        "walletBalance": _money(totals.wallet),
        "unrealizedProfit": _money(totals.unrealized),
        "marginBalance": _money(totals.equity),
        "maintMargin": _money(totals.maintenance),
        "initialMargin": _money(totals.initial),
        "positionInitialMargin": _money(totals.position_margin),
        "openOrderInitialMargin": _money(totals.order_margin),
        "crossWalletBalance": _money(totals.cross_wallet),
        "crossUnPnl": _money(totals.cross_unrealized),
        "availableBalance": _money(totals.available),
        "maxWithdrawAmount": _money(_withdrawable(totals)),
        "marginAvailable": True,
        "updateTime": desk.now_ms,
    }


def _account_position(desk: Desk, symbol: str, totals: Totals) -> Json:
    position, margin = desk.views.position(symbol), _margin(desk, totals, symbol)
    isolated = desk.exchange.account.isolated[symbol]
    return {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": plain(position.quantity),
        "unrealizedProfit": _money(margin.unrealized),
        "isolatedMargin": _money(position.isolated_usdt + margin.unrealized) if isolated else "0",
        "notional": _money(margin.notional),
        "isolatedWallet": _money(position.isolated_usdt) if isolated else "0",
        "initialMargin": _money(margin.initial),
        "maintMargin": _money(margin.maintenance),
        "positionInitialMargin": _money(margin.position_margin),
        "openOrderInitialMargin": _money(margin.order_margin),
        "updateTime": position.updated_ms,
    }


def balance(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v3/balance and v2."""
    totals = _totals(desk)
    return [
        {
            "accountAlias": desk.account_id,
            "asset": "USDT",
            "balance": _money(totals.wallet),
            "crossWalletBalance": _money(totals.cross_wallet),
            "crossUnPnl": _money(totals.cross_unrealized),
            "availableBalance": _money(totals.available),
            "maxWithdrawAmount": _money(_withdrawable(totals)),
            "marginAvailable": True,
            "updateTime": desk.now_ms,
        }
    ]


def position_risk(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v3/positionRisk: symbols with a position or an open order."""
    symbol = desk.symbol_filter(params)
    totals = _totals(desk)
    return [_risk(desk, each, totals) for each in totals.symbols if symbol in (None, each)]


def position_risk_v2(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v2/positionRisk: all symbols, with leverage and margin type."""
    symbol = desk.symbol_filter(params)
    totals = _totals(desk)
    held = desk.exchange.account
    return [
        {
            **_risk(desk, each, totals),
            "leverage": str(held.leverage[each]),
            "maxNotionalValue": _cap(desk, each),
            "marginType": "isolated" if held.isolated[each] else "cross",
            "isAutoAddMargin": "false",
            "adlQuantile": 1,
        }
        for each in desk.exchange.feeds
        if symbol in (None, each)
    ]


def _risk(desk: Desk, symbol: str, totals: Totals) -> Json:
    position, mark = desk.views.position(symbol), desk.exchange.mark_price(symbol)
    row = _account_position(desk, symbol, totals)
    unrealized = row.pop("unrealizedProfit")
    price = desk.exchange.account.liquidation_price(symbol, position, mark, totals)
    digits = desk.exchange.instruments[symbol].price_digits
    return {
        **row,
        "entryPrice": plain(position.entry_price),
        "breakEvenPrice": plain(position.entry_price),
        "markPrice": f"{mark:.8f}",
        "unRealizedProfit": unrealized,
        "liquidationPrice": f"{price:.{digits}f}",
        "marginAsset": "USDT",
        "adl": 1,
        "bidNotional": "0",
        "askNotional": "0",
    }


def symbol_config(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v1/symbolConfig."""
    symbol, held = desk.symbol_filter(params), desk.exchange.account
    return [
        {
            "symbol": each,
            "marginType": "ISOLATED" if held.isolated[each] else "CROSSED",
            "isAutoAddMargin": False,
            "leverage": held.leverage[each],
            "maxNotionalValue": _cap(desk, each),
        }
        for each in desk.exchange.feeds
        if symbol in (None, each)
    ]


def account_config(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/accountConfig."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": False,
        "dualSidePosition": desk.exchange.account.is_hedged,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def commission_rate(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/commissionRate."""
    return {
        "symbol": desk.instrument(params).symbol,
        "makerCommissionRate": plain(MAKER_FEE),
        "takerCommissionRate": plain(TAKER_FEE),
    }


def leverage_bracket(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v1/leverageBracket."""
    symbol = desk.symbol_filter(params)
    return [
        {
            "symbol": each,
            "notionalCoef": 1.0,
            "brackets": [
                {
                    "bracket": number,
                    "initialLeverage": step.leverage,
                    "notionalCap": step.cap_usdt,
                    "notionalFloor": step.floor_usdt,
                    "maintMarginRatio": float(step.maintenance_fraction),
                    "cum": float(step.cumulative_usdt),
                }
                for number, step in enumerate(desk.exchange.instruments[each].brackets, start=1)
            ],
        }
        for each in desk.exchange.feeds
        if symbol in (None, each)
    ]


def income(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v1/income: realised profit and fees, oldest first."""
    start_ms, end_ms = params.integer("startTime"), params.integer("endTime")
    end_ms = desk.now_ms if end_ms is None else end_ms
    rows = desk.ledger.income(
        desk.symbol_filter(params),
        params.text("incomeType"),
        end_ms - WEEK_MS if start_ms is None else start_ms,
        end_ms,
        params.limit(100, 1000),
    )
    return [
        {
            "symbol": symbol,
            "incomeType": kind,
            "income": usdt,
            "asset": "USDT",
            "info": kind,
            "time": time_ms,
            "tranId": number,
            "tradeId": str(trade_id or ""),
        }
        for number, time_ms, symbol, kind, usdt, trade_id in rows
    ]
