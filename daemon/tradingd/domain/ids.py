"""Identifiers: who made what. A client order id is made and stored before its order is sent."""

import re
from enum import StrEnum
from typing import NewType

import msgspec

VenueId = NewType("VenueId", str)
StrategyId = NewType("StrategyId", str)
ClientOrderId = NewType("ClientOrderId", str)
VenueOrderId = NewType("VenueOrderId", str)
TradeId = NewType("TradeId", str)
DecisionKey = NewType("DecisionKey", str)
IntentId = NewType("IntentId", str)
Epoch = NewType("Epoch", str)

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_CLIENT_ORDER_ID = re.compile(r"([A-Za-z0-9]{1,6})-([0-9a-z]{8,16})-([1-9][0-9]{0,8})([a-z])")
MAX_CLIENT_ORDER_ID_LENGTH = 32
"""The longest id that is legal on Binance (36), Bybit (36) and Bitget (50 classic, 32 unified)."""


class Purpose(StrEnum):
    """Why an order exists; its letter ends the client order id, so that a venue's list can be read by eye."""

    ENTRY = "e"
    EXIT = "x"
    STOP = "s"
    TAKE_PROFIT = "t"
    BRIDGE = "b"

    @property
    def is_protective(self) -> bool:
        """Whether the order stands on the venue to protect a position."""
        return self in (Purpose.STOP, Purpose.TAKE_PROFIT, Purpose.BRIDGE)

    @property
    def may_increase_exposure(self) -> bool:
        """Whether a second copy of the order could enlarge a position: if so, no new try while one is in doubt."""
        return self is Purpose.ENTRY


class ParsedClientOrderId(msgspec.Struct, frozen=True):
    """The parts of one of our client order ids."""

    prefix: str
    epoch: Epoch
    sequence: int
    purpose: Purpose


def base36(number: int) -> str:
    """A non-negative integer in base 36, lower case."""
    if number < 0:
        raise ValueError(f"base36 needs a non-negative number, got {number}")
    digits = ""
    while True:
        number, rest = divmod(number, 36)
        digits = _BASE36[rest] + digits
        if number == 0:
            return digits


def make_epoch(boot_ms: int, tail: str) -> Epoch:
    """The epoch of one boot: base36 of its time in ms, and a random tail so that two daemons never share it."""
    return Epoch(base36(boot_ms) + tail)


def make_client_order_id(prefix: str, epoch: Epoch, sequence: int, purpose: Purpose) -> ClientOrderId:
    """`<prefix>-<epoch>-<sequence><purpose>`, legal on all three venues. Raises ValueError when it would not be."""
    text = f"{prefix}-{epoch}-{sequence}{purpose.value}"
    if len(text) > MAX_CLIENT_ORDER_ID_LENGTH or _CLIENT_ORDER_ID.fullmatch(text) is None:
        raise ValueError(f"client order id {text!r} is not legal: letters, digits, '-' and at most 32 characters")
    return ClientOrderId(text)


def parse_client_order_id(text: str | None, prefix: str) -> ParsedClientOrderId | None:
    """The parts of an id under our prefix; None when the order is not ours."""
    match = _CLIENT_ORDER_ID.fullmatch(text or "")
    if match is None or match[1] != prefix:
        return None
    try:
        purpose = Purpose(match[4])
    except ValueError:
        return None
    return ParsedClientOrderId(match[1], Epoch(match[2]), int(match[3]), purpose)
