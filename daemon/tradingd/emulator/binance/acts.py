"""What only this dialect does without being asked, beside the acts of core/acts.py: listen keys, a slow engine."""

from __future__ import annotations

from decimal import Decimal

from tradingd.emulator.binance.desk import Desk
from tradingd.emulator.core import acts
from tradingd.emulator.core.acts import Values
from tradingd.emulator.core.admin import number


def play(desk: Desk, kind: str, values: Values) -> str:
    """Do it; says in the past tense what was done. Raises ValueError for an act that this dialect does not know."""
    return acts.play(
        desk,
        kind,
        values,
        {
            "expire_listen_key": lambda values: _expire_listen_key(desk),
            "delay_engine": lambda values: _delay_engine(desk, values),
            "end_connections": lambda values: f"ended {desk.streams.end_all()} connections as after 24 hours",
        },
    )


def _expire_listen_key(desk: Desk) -> str:
    keys = list(desk.streams.keys)
    for key in keys:
        desk.streams.expire_key(key)
    return f"let {len(keys)} listen keys expire"


def _delay_engine(desk: Desk, values: Values) -> str:
    """New orders reach the engine so much after the gateway, in real milliseconds; -5028 when that is too late."""
    desk.engine_delay_ms = round(number(values, "delay_ms") * Decimal(desk.lags.scale))
    return f"delays new orders by {values['delay_ms']} ms"
