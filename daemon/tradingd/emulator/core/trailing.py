"""Trailing stops: the trigger follows the best price since activation at a distance, and fires when the price is back.

A sell activates at or above its activation price and follows the highest price; a buy is its mirror. Without an
activation price it is active from the start.
"""

from __future__ import annotations

import msgspec

from tradingd.emulator.core.records import Conditional


def activation_is_ahead(order: Conditional, price: int) -> bool:
    """Whether the activation price still has to be reached; the venue refuses an order for which that is not so."""
    return (order.activation_ticks - price) * order.side < 0


def follow(order: Conditional, price: int) -> Conditional:
    """The order after it has seen a price in ticks; the same object if nothing moved."""
    if not order.extreme_ticks:
        if order.activation_ticks and activation_is_ahead(order, price):
            return order
        return msgspec.structs.replace(order, extreme_ticks=price)
    if (order.extreme_ticks - price) * order.side > 0:
        return msgspec.structs.replace(order, extreme_ticks=price)
    return order


def is_back(order: Conditional, price: int) -> bool:
    """Whether the price has come back from the extreme by the callback."""
    if not order.extreme_ticks:
        return False
    distance = (price - order.extreme_ticks) * order.side
    return distance >= order.extreme_ticks * order.callback_fraction
