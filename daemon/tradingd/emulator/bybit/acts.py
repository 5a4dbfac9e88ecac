"""What only this dialect does without being asked, beside the acts of core/acts.py."""

from __future__ import annotations

from decimal import Decimal

from tradingd.emulator.bybit.desk import Desk
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
            "expire_listen_key": lambda values: "had no listen keys to let expire",
            "end_connections": lambda values: f"ended {desk.streams.end_all()} connections",
            "delay_engine": lambda values: _delay_engine(desk, values),
            "ban": lambda values: _ban(desk),
            "forget_closed": lambda values: _forget_closed(desk),
        },
    )


def _delay_engine(desk: Desk, values: Values) -> str:
    """What is acknowledged reaches the engine so much later, in real milliseconds."""
    desk.engine.delay_ms = round(number(values, "delay_ms") * Decimal(desk.lags.scale))
    return f"delays what it acknowledges by {values['delay_ms']} ms"


def _ban(desk: Desk) -> str:
    desk.limits.ban(desk.now_ms)
    return "banned the address for ten minutes"


def _forget_closed(desk: Desk) -> str:
    """What a restart of the real venue does: realtime no longer shows what has ended."""
    count = len(desk.recent)
    desk.recent.clear()
    return f"forgot {count} closed orders in realtime"
