"""Bybit V5: each documented retCode of an order request, and what it says of that order."""

import re

from tradingd.domain.account import RejectKind as Kind
from tradingd.venues.error_map import ErrorTable, Meaning


def _all(kind: Kind | None, why: str, *codes: int) -> dict[str, Meaning]:
    return {str(code): Meaning(kind, why) for code in codes}


SUBMIT: dict[str, Meaning] = {
    **_all(None, "the venue itself does not know", 10000, 10016, 10019, 429, 10429, 500000, 3400214),
    **_all(None, "the venue itself does not know", 170001, 170005, 170007, 170032, 20003, 20006),
    **_all(None, "an order with this client order id exists: look it up", 110072),
    **_all(None, "the order has ended already, so it came in: look it up", 110001, 110008, 110010),
    **_all(Kind.CLOCK, "signed time outside the window", 10002),
    **_all(Kind.AUTHENTICATION, "key, signature or permission", 10003, 10004, 33004, 10005, 10010, 10027, 10029),
    **_all(Kind.THROTTLED, "over a limit, nothing done", 10006),
    **_all(Kind.BANNED, "the address is over its limit", 10018),
    **_all(Kind.MARGIN, "balance, margin or position limit", 110004, 110006, 110007, 110012, 110044, 110045),
    **_all(Kind.MARGIN, "balance, margin or position limit", 110051, 110052, 110053, 110090),
    **_all(Kind.WOULD_TRIGGER, "the trigger price is already passed", 110092, 110093),
    **_all(Kind.REDUCE_ONLY, "nothing left to reduce, or the wrong side: read the position", 110017),
    **_all(Kind.FILTER, "price or order value outside the rules", 110003, 110094),
    **_all(Kind.OTHER, "too many conditional or open orders", 110009, 110020),
    **_all(Kind.VENUE_REDUCE_ONLY, "the venue takes only exits for now", 110023),
    **_all(Kind.OTHER, "the symbol takes no such order now", 110074),
    **_all(Kind.OTHER, "stop or take profit on the wrong side", 110057, 110058, 110061),
    **_all(Kind.CONFIGURATION, "malformed parameter, or the position mode does not fit", 10001),
}
"""Sources: the venue's page of error codes, its answers. A code that is not here leaves the order in doubt."""

BY_TEXT = (
    (re.compile("zero position"), Kind.REDUCE_ONLY),
    (re.compile("base_price"), Kind.WOULD_TRIGGER),
    (re.compile(r"number of contracts exceeds|\b(qty|price) invalid", re.IGNORECASE), Kind.FILTER),
)
"""What 10001 says beside its code: nothing is held, the price has passed a level, or a number is outside the rules,
which may have changed since they were read. Its other texts are faults of the request or of the account's modes."""

UNCHANGED = frozenset({"110025", "110026", "110027", "110043", "34040"})
"""The venue's several ways to say that it was so before."""

TOO_FREQUENT_BAN_MS = 10 * 60_000

ADVICE = {
    "10003": "Bybit does not know the API key: it is wrong or deleted, or belongs to the testnet",
    "10004": "The API secret does not belong to the key: copy it anew",
    "33004": "The API key has expired: make a new one in API Management on Bybit",
    "10005": "The API key is good and lacks a right: in API Management on Bybit set it to Read-Write, and tick Orders "
    "and Positions of Contract",
    "10010": "The API key is bound to other IP addresses: add this one in API Management on Bybit",
}
"""What a user can do about a refused key."""

ERRORS = ErrorTable(
    submit=SUBMIT,
    unknown_order=frozenset({"110001"}),
    not_open=frozenset({"110001", "110008", "110010"}),
    unchanged=UNCHANGED,
    transient=frozenset({"10000", "10002", "10006", "10016", "10018", "10019", "429", "10429", "500000", "3400214"}),
    order_limit=frozenset(),
    ban_until=re.compile(r"banned until (\d{13})"),
    refused_texts=frozenset(),
    short_window=re.compile(r"(?!)"),  # no text of this venue names a window
    refused_statuses={403: Kind.BANNED},
    ban_statuses=frozenset({403}),
    long_ban=(re.compile("access too frequent"), TOO_FREQUENT_BAN_MS),
    ban_codes=frozenset({"10018"}),
    advice=ADVICE,
    too_many=frozenset({"10006"}),
    blocked=re.compile("country|CloudFront", re.IGNORECASE),
    by_text=BY_TEXT,
)
