"""Binance USDT-M: what a request weighs, and the windows that the venue counts in, as it publishes them."""

import msgspec

from tradingd.execution.rate_budget import RateWindows

_UNITS_MS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
_HEADERS = {"REQUEST_WEIGHT": "X-MBX-USED-WEIGHT", "ORDERS": "X-MBX-ORDER-COUNT"}
_WORDS = {"REQUEST_WEIGHT": "weight", "ORDERS": "orders"}


class _Limit(msgspec.Struct, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _ExchangeInfo(msgspec.Struct, rename="camel"):
    rate_limits: list[_Limit] = []


def rate_windows(body: str) -> RateWindows:
    """The windows in the text of exchangeInfo, the rest of it skipped; empty where there are none that count requests.

    Raises ValueError for what cannot be read: a limit that was misread would be a ban later.
    """
    try:
        found = msgspec.json.decode(body, type=_ExchangeInfo).rate_limits
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    windows = []
    for each in found:
        if each.rate_limit_type not in _HEADERS:
            continue  # RAW_REQUESTS and what may come: not counted by weight, and told in no header
        if each.interval not in _UNITS_MS or each.interval_num < 1 or each.limit < 1:
            raise ValueError(f"a rate limit of {each.limit} each {each.interval_num} {each.interval}")
        span = f"{each.interval_num}{each.interval[0]}"
        name = f"{_WORDS[each.rate_limit_type]} {span.lower()}"
        length_ms = each.interval_num * _UNITS_MS[each.interval]
        header = f"{_HEADERS[each.rate_limit_type]}-{span}"
        windows.append((name, length_ms, each.limit, header, each.rate_limit_type == "ORDERS"))
    kinds = {window[4] for window in windows}
    return tuple(windows) if kinds == {False, True} else ()
