"""Wallet, positions, key and account over REST, and their rows for the streams; what REST shows lags behind."""

from __future__ import annotations

from decimal import Decimal

from tradingd.emulator.bybit.desk import Desk
from tradingd.emulator.bybit.errors import VenueError
from tradingd.emulator.bybit.params import Params
from tradingd.emulator.bybit.payloads import OF_POSITION, Json, plain, side_word
from tradingd.emulator.core.account import Totals
from tradingd.emulator.core.records import ZERO, Conditional, Position
from tradingd.emulator.core.views import seen_totals

_FIRST_MS = 1_700_000_000_000


def wallet_balance(desk: Desk, params: Params) -> Json:
    """GET /v5/account/wallet-balance."""
    if params.need("accountType") != "UNIFIED":
        raise VenueError(10001, "accountType only support UNIFIED.")
    return {"list": [wallet_row(desk, seen_totals(desk.exchange, desk.views))]}


def is_isolated(desk: Desk) -> bool:
    """The margin mode of the whole account."""
    return any(desk.exchange.account.isolated.values())


def wallet_row(desk: Desk, totals: Totals) -> Json:
    """The account in USDT; in isolated margin what is told of the account as a whole is empty."""
    isolated = is_isolated(desk)
    equity = totals.equity

    def overall(value: Decimal) -> str:
        return "" if isolated else plain(value)

    def rate(value: Decimal) -> str:
        return "" if isolated or equity <= 0 else f"{value / equity:.4f}"

    coin = {
        "coin": "USDT",
        "equity": plain(equity),
        "usdValue": plain(equity),
        "walletBalance": plain(totals.wallet),
        "locked": "0",
        "spotHedgingQty": "0",
        "borrowAmount": "0",
        "availableToWithdraw": "",
        "availableToBorrow": "",
        "accruedInterest": "0",
        "totalOrderIM": plain(totals.order_margin),
        "totalPositionIM": plain(totals.position_margin),
        "totalPositionMM": plain(totals.maintenance),
        "unrealisedPnl": plain(totals.unrealized),
        "cumRealisedPnl": plain(_realized(desk)),
        "bonus": "0",
        "marginCollateral": True,
        "collateralSwitch": True,
        "spotBorrow": "0",
    }
    return {
        "accountType": "UNIFIED",
        "accountLTV": "",
        "accountIMRate": rate(totals.initial),
        "accountMMRate": rate(totals.maintenance),
        "totalEquity": plain(equity),
        "totalWalletBalance": plain(totals.wallet),
        "totalMarginBalance": overall(equity),
        "totalAvailableBalance": overall(totals.available),
        "totalPerpUPL": plain(totals.unrealized),
        "totalInitialMargin": overall(totals.initial),
        "totalMaintenanceMargin": overall(totals.maintenance),
        "coin": [coin],
    }


def _realized(desk: Desk) -> Decimal:
    return sum((position.realized_usdt for position in desk.exchange.account.positions.values()), ZERO)


def positions(desk: Desk, params: Params) -> Json:
    """GET /v5/position/list: of a symbol always a row, also when it is flat; of a settle coin only what is open."""
    params.check_category()
    wanted, settle = params.text("symbol"), params.text("settleCoin")
    if wanted is None and settle is None:
        raise VenueError(10001, "params error: symbol or settleCoin is required")
    totals = seen_totals(desk.exchange, desk.views)
    if wanted is not None:
        symbols = [desk.named(wanted).symbol]
    else:
        symbols = [each for each in desk.exchange.feeds if settle == "USDT" and desk.views.position(each).quantity]
    limit, first = params.limit(20, 200), int(params.text("cursor") or 0)
    page = symbols[first : first + limit]
    levels = desk.views.open_conditionals(None)
    rows = [row for each in page for row in _sides(desk, position_row(desk, desk.views.position(each), totals, levels))]
    cursor = str(first + limit) if first + limit < len(symbols) else ""
    return {"category": "linear", "list": rows, "nextPageCursor": cursor}


def _sides(desk: Desk, row: Json) -> list[Json]:
    """One-way mode has one row of a symbol, hedge mode one for each side, flat as they may be."""
    return [row | {"positionIdx": side} for side in (1, 2)] if desk.exchange.account.is_hedged else [row]


def position_row(desk: Desk, position: Position, totals: Totals, levels: list[Conditional]) -> Json:
    """One position; `levels` are the conditional orders among which its TP and SL are."""
    exchange, symbol = desk.exchange, position.symbol
    account, instrument, mark = exchange.account, exchange.instruments[symbol], exchange.mark_price(symbol)
    held = position.quantity
    margin = account.margin(symbol, mark, (), position)
    isolated = account.isolated[symbol]
    liquidation = account.liquidation_price(symbol, position, mark, totals) if held and symbol in totals.symbols else 0
    take_profit, stop_loss = _level(levels, symbol, True), _level(levels, symbol, False)
    digits = instrument.price_digits
    return {
        "positionIdx": 0,
        "riskId": 1,
        "riskLimitValue": str(instrument.cap_usdt(account.leverage[symbol])),
        "symbol": symbol,
        "side": side_word(1 if held > 0 else -1) if held else "",
        "size": plain(abs(held)),
        "avgPrice": plain(position.entry_price) if held else "0",
        "entryPrice": plain(position.entry_price),
        "positionValue": plain(abs(held) * position.entry_price) if held else "",
        "tradeMode": int(isolated),
        "autoAddMargin": 0,
        "positionStatus": "Normal",
        "category": "linear",
        "leverage": str(account.leverage[symbol]),
        "markPrice": f"{mark:.{digits}f}",
        "liqPrice": f"{liquidation:.{digits}f}" if liquidation else "",
        "bustPrice": "",
        "positionIM": plain(margin.position_margin) if held else "",
        "positionMM": plain(margin.maintenance) if held else "",
        "positionBalance": plain(position.isolated_usdt) if isolated else "0",
        "takeProfit": take_profit,
        "stopLoss": stop_loss,
        "trailingStop": "0",
        "tpslMode": "Full",
        "sessionAvgPrice": "",
        "unrealisedPnl": plain(margin.unrealized) if held else "",
        "curRealisedPnl": plain(position.realized_usdt) if held else "0",
        "cumRealisedPnl": plain(position.realized_usdt),
        "adlRankIndicator": 2 if held else 0,
        "isReduceOnly": False,
        "leverageSysUpdatedTime": "",
        "mmrSysUpdatedTime": "",
        "createdTime": str(_FIRST_MS),
        "updatedTime": str(position.updated_ms or _FIRST_MS),
        "seq": position.updated_ms,
    }


def _level(levels: list[Conditional], symbol: str, is_take_profit: bool) -> str:
    for each in levels:
        if (each.symbol, each.is_take_profit, each.close_position, each.time_in_force) == (
            symbol,
            is_take_profit,
            True,
            OF_POSITION,
        ):
            return plain(each.trigger_price)
    return ""


def account_info(desk: Desk, params: Params) -> Json:
    """GET /v5/account/info."""
    return {
        "marginMode": "ISOLATED_MARGIN" if is_isolated(desk) else "REGULAR_MARGIN",
        "updatedTime": str(_FIRST_MS),
        "unifiedMarginStatus": 6,
        "dcpStatus": "OFF",
        "timeWindow": 10,
        "smpGroup": 0,
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
    }


def key_info(desk: Desk, params: Params) -> Json:
    """GET /v5/user/query-api."""
    return {
        "id": "1",
        "note": "built-in",
        "apiKey": "",
        "readOnly": int(desk.is_read_only),
        "secret": "",
        "permissions": {
            "ContractTrade": ["Order", "Position"],
            "Spot": [],
            "Wallet": [],
            "Options": [],
            "Derivatives": [],
            "CopyTrading": [],
            "BlockTrade": [],
            "Exchange": [],
            "NFT": [],
            "Affiliate": [],
        },
        "ips": ["*"],
        "type": 1,
        "deadlineDay": 90,
        "expiredAt": "2030-01-01T00:00:00Z",
        "createdAt": "2026-01-01T00:00:00Z",
        "unified": 0,
        "uta": 1,
        "userID": 24_600_000,
        "inviterID": 0,
        "vipLevel": "No VIP",
        "mktMakerLevel": "0",
        "affiliateID": 0,
        "rsaPublicKey": "",
        "isMaster": True,
        "parentUid": "0",
        "kycLevel": "LEVEL_DEFAULT",
        "kycRegion": "",
    }


def coin_info(desk: Desk, params: Params) -> Json:
    """GET /v5/asset/coin/query-info: the one coin of the account."""
    wanted = params.text("coin")
    chain = {
        "chainType": "ERC20",
        "confirmation": "65",
        "withdrawFee": "10",
        "depositMin": "0",
        "withdrawMin": "20",
        "chain": "ETH",
        "chainDeposit": "1",
        "chainWithdraw": "1",
        "minAccuracy": "4",
        "withdrawPercentageFee": "0",
    }
    rows = [{"name": "USDT", "coin": "USDT", "remainAmount": "2000000", "chains": [chain]}]
    return {"rows": rows if wanted in (None, "USDT") else []}


def fee_rate(desk: Desk, params: Params) -> Json:
    """GET /v5/account/fee-rate."""
    params.check_category()
    wanted = params.text("symbol")
    account = desk.exchange.account
    return {
        "category": "linear",
        "list": [
            {"symbol": each, "takerFeeRate": plain(account.taker_fee), "makerFeeRate": plain(account.maker_fee)}
            for each in ([desk.named(wanted).symbol] if wanted else desk.exchange.feeds)
        ],
    }
