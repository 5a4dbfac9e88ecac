"""Binance USDT-M: each documented code of an order request, and what it says of that order."""

import re

from tradingd.domain.account import RejectKind as Kind
from tradingd.venues.error_map import ErrorTable, Meaning


def _all(kind: Kind | None, why: str, *codes: int) -> dict[str, Meaning]:
    return {str(code): Meaning(kind, why) for code in codes}


SUBMIT: dict[str, Meaning] = {
    **_all(None, "the venue itself does not know", -1000, -1001, -1006, -1007),
    **_all(None, "an order with this client order id exists: look it up", -4116),
    **_all(Kind.CLOCK, "signed time outside the window", -1021, -5028),
    **_all(Kind.AUTHENTICATION, "key, signature or permission", -1002, -1022, -2014, -2015),
    **_all(Kind.THROTTLED, "over a limit, nothing done", -1003, -1008, -1015),
    **_all(Kind.MARGIN, "balance, margin or position limit for the leverage", -2018, -2019, -2027, -2028, -4050, -4051),
    **_all(Kind.WOULD_TRIGGER, "the trigger price is already passed", -2021, -4142),
    **_all(Kind.REDUCE_ONLY, "nothing left to reduce, or other orders reduce it", -2022, -2024, -4118),
    **_all(Kind.FILTER, "price, quantity or notional outside the filters", -1013, -1111, -4001, -4002, -4003, -4004),
    **_all(Kind.FILTER, "price, quantity or notional outside the filters", -4005, -4006, -4007, -4013, -4014, -4016),
    **_all(Kind.FILTER, "price, quantity or notional outside the filters", -4023, -4024, -4131, -4164, -5029),
    **_all(Kind.NOT_FILLABLE, "fill-or-kill could not fill whole", -5021),
    **_all(Kind.WOULD_NOT_REST, "post-only would have taken", -5022),
    **_all(Kind.OTHER, "rejected by the engine", -2010, -2020, -2023),
    **_all(Kind.OTHER, "too many conditional or open orders", -2025, -4045),
    **_all(Kind.OTHER, "expires with the position, but there is none", -4509),
    **_all(Kind.OTHER, "the symbol takes no such order now", -4108, -4140, -4141),
    **_all(Kind.DUPLICATE_PROTECTION, "a close-position order of this direction and type exists", -4130),
    **_all(Kind.CONFIGURATION, "conditional type on the plain endpoint: the position is unprotected", -4120),
    **_all(Kind.CONFIGURATION, "position mode does not fit", -4061, -1106),
    **_all(Kind.CONFIGURATION, "misuse of close-position", -4136, -4137, -4138),
    **_all(Kind.CONFIGURATION, "malformed parameter", -1100, -1101, -1102, -1103, -1104, -1105, -1108, -1114, -1115),
    **_all(Kind.CONFIGURATION, "malformed parameter", -1116, -1117, -1118, -1121, -1128, -1130, -1136, -2026, -4015),
    **_all(Kind.VENUE_REDUCE_ONLY, "the venue takes only exits for now", -4087, -4105, -4106, -4107, -4189),
    **_all(Kind.VENUE_REDUCE_ONLY, "the venue takes only exits for now", -4400, -4401),
}
"""Sources: the venue's page of error codes, its answers. A code that is not here leaves the order in doubt."""

KEY_GONE = "-1125"
"""The listen key does not exist any more."""

ADVICE = {
    "-2014": "The API key is not written as Binance writes them: copy it anew",
    "-1022": "The API secret does not belong to the key: copy it anew",
    "-2015": "Binance tells these apart by no code: the key is wrong or deleted, API Management does not tick Enable "
    "Futures for it, or its IP access restrictions leave this address out. Check the key, its permissions and its IP "
    "rule at the venue",
}
"""What a user can do about a refused key."""

ERRORS = ErrorTable(
    submit=SUBMIT,
    unknown_order=frozenset({"-2013"}),
    not_open=frozenset({"-2011"}),
    unchanged=frozenset({"-4046", "-4059", "-5027"}),
    transient=frozenset({"-1000", "-1001", "-1003", "-1006", "-1007", "-1008", "-1015", "-1021", "-5028"}),
    order_limit=frozenset({"-1015"}),
    ban_until=re.compile(r"banned until (\d{13})"),
    refused_texts=frozenset({"Service Unavailable."}),
    short_window=re.compile(r"(?:10|TEN)[ _]?S", re.IGNORECASE),
    refused_statuses={418: Kind.BANNED, 429: Kind.THROTTLED},
    ban_statuses=frozenset({418, 429, 403}),
    advice=ADVICE,
)
