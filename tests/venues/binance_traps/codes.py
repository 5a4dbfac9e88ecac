"""Every error of the venue's page: its HTTP status, what it says of an order, and what is to be done."""

from enum import StrEnum

import msgspec


class Says(StrEnum):
    """What the answer proves of a new order."""

    NO = "not executed"
    UNKNOWN = "may have been executed"
    EXISTS = "an order with this id is there"


class Act(StrEnum):
    """What the page asks for."""

    NOTHING = "the intent fails, with the venue's words"
    LOOK_UP = "look it up, by the fence"
    RESIGN = "set the clock, sign anew, once"
    REST = "stop: no entry at that venue for a minute, and the operator is told"
    BAN = "nothing leaves until the time is over"
    ORDERS_OVER = "no order leaves until the time is over; everything else does"
    THROTTLED = "nothing was done; exits and stops go on"
    CLOSE = "the stop's level is passed: close at market"
    REFETCH = "ask what is held; flat is success"
    RULES = "read the venue's filters anew"
    ALARM = "alarm: the position has no stop; the instrument takes no entries"
    BLOCK = "a mistake of configuration: the instrument takes no entries"
    ADOPT = "an equivalent order stands: find it"
    EXITS_ONLY = "the instrument takes exits only, for a while"


class Row(msgspec.Struct, frozen=True):
    """One answer. `code` 0: the body is a bare text, or a page of HTML where there is none."""

    code: int
    status: int
    says: Says
    act: Act
    text: str = "Said by the venue."

    @property
    def name(self) -> str:
        """For the name of its test."""
        return str(self.code) if self.code else f"http {self.status}"

    @property
    def raw_code(self) -> str | None:
        """As the journal has it."""
        return str(self.code) if self.code else None


def _rows(says: Says, act: Act, *codes: int, status: int = 400) -> list[Row]:
    return [Row(code, status, says, act) for code in codes]


NO, UNKNOWN = Says.NO, Says.UNKNOWN

ROWS: list[Row] = [
    *_rows(NO, Act.RESIGN, -1021, -5028),
    *_rows(NO, Act.REST, -1022, status=400),
    *_rows(NO, Act.REST, -2014, -2015, status=401),
    Row(-1003, 429, NO, Act.BAN, "Too many requests; current limit is 2400 requests per minute."),
    Row(-1003, 418, NO, Act.BAN, "Way too many requests; IP(127.0.0.1) banned until {until_ms}."),
    Row(-1015, 429, NO, Act.ORDERS_OVER, "Too many new orders; current limit is 300 orders per TEN_SECONDS."),
    *_rows(NO, Act.THROTTLED, -1008, status=503),
    Row(0, 503, NO, Act.THROTTLED, "Service Unavailable."),
    *_rows(UNKNOWN, Act.LOOK_UP, -1000, -1006, -1007, status=503),
    *_rows(UNKNOWN, Act.LOOK_UP, -1001, status=500),
    *_rows(UNKNOWN, Act.LOOK_UP, -1007, status=408),
    Row(0, 503, UNKNOWN, Act.LOOK_UP, "Unknown error, please check your request or try again later."),
    Row(0, 502, UNKNOWN, Act.LOOK_UP, ""),
    Row(0, 504, UNKNOWN, Act.LOOK_UP, ""),
    Row(0, 403, UNKNOWN, Act.BAN, ""),
    *_rows(Says.EXISTS, Act.LOOK_UP, -4116),
    *_rows(NO, Act.NOTHING, -2018, -2019, -5021, -5022, -4509, -4045, -2025),
    *_rows(NO, Act.CLOSE, -2021, -4142),
    *_rows(NO, Act.REFETCH, -2022, -4118),
    *_rows(NO, Act.RULES, -4164, -5029, -1111, -4014, -4023, -4003, -4004, -4005, -4016, -4024),
    *_rows(NO, Act.ALARM, -4120),
    *_rows(NO, Act.ADOPT, -4130),
    *_rows(NO, Act.BLOCK, -4061, -1106, -4136, -4137, -4138),
    *_rows(NO, Act.EXITS_ONLY, -4400, -4401, -4105, -4106, -4107, -4087, -4189),
    *_rows(UNKNOWN, Act.LOOK_UP, -9999),  # a code that no page has
]
"""All rows that are about new orders; -2011 and -2013, and the three that mean success, have tests of their own."""

ON_CANCEL, ON_LOOK_UP = -2011, -2013
NOTHING_TO_CHANGE = (-4046, -4059, -5027)
LASTING = {Act.REST, Act.BAN, Act.ORDERS_OVER, Act.ALARM, Act.BLOCK, Act.EXITS_ONLY}
"""What lasts beyond the order that was refused: each needs a run of the daemon of its own."""
