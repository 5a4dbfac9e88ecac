"""The numbers that execution works with, taken from config once at start."""

from decimal import Decimal

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Seconds are real time; `_ms` values are venue time; fractions are of 1."""

    order_prefix: str = "td"
    submit_timeout_s: float = 2.0
    unprotected_limit_s: float = 5.0
    look_every_s: float = 2.0
    converge_timeout_s: float = 10.0
    sweep_always: bool = False
    deny_on_foreign_orders: bool = True
    require_stop: bool = True
    max_candle_age_ms: int = 30_000
    max_position_notional_usdt: Decimal = Decimal(5_000)
    max_open_positions: int = 5
    max_leverage: int = 10
    max_daily_loss_fraction: Decimal = Decimal("0.05")
    max_drawdown_fraction: Decimal = Decimal("0.2")
    price_band_fraction: Decimal = Decimal("0.05")
    budget_wait_s: float = 1.0
    visibility_margin_ms: int = 2_000


class VenuePlan(msgspec.Struct, frozen=True):
    """What the user chose for a venue."""

    leverage: int = 5
    margin_mode: str = "cross"


class StrategyPlan(msgspec.Struct, frozen=True):
    """What execution must know of a strategy: how long it holds still after a close."""

    strategy: str
    hold_ms: int
    timeframe_ms: int
