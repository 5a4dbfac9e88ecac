"""The host's clock as the Clock port."""

from tradingd.app.machine import MachineClock
from tradingd.domain.ids import VenueId

BINANCE, BYBIT = VenueId("binance"), VenueId("bybit")


def test_a_venue_found_running_fast_scales_its_lags_at_once_while_our_time_keeps_its_pace() -> None:
    """A daemon that was started again beside a venue at speed 600 took a position of seven venue minutes ago for one
    that nobody here had opened: ten seconds after the last fill, by a clock that still ran at one, it was believed."""
    clock = MachineClock().at(BINANCE)
    clock.synchronise(1_000_000, clock.monotonic())
    clock.find_speed(600.0)
    assert clock.speed == 600.0
    assert 1_000_000 <= clock.now_ms() < 1_000_000 + 10_000


def test_a_speed_that_is_set_moves_our_time_and_does_not_make_it_jump() -> None:
    clock = MachineClock().at(BINANCE)
    began = clock.monotonic()
    clock.synchronise(1_000_000, began)
    clock.set_speed(600.0)
    passed_s = clock.monotonic() - began
    assert clock.speed == 600.0
    assert 1_000_000 <= clock.now_ms() <= 1_000_000 + (passed_s + 0.5) * 600_000


def test_what_one_venue_says_of_its_time_moves_no_other() -> None:
    """A built-in venue that was killed came back 87 s behind, and the other one's orders were signed by its clock."""
    clock = MachineClock()
    binance, bybit = clock.at(BINANCE), clock.at(BYBIT)
    binance.synchronise(1_000_000, clock.monotonic(), 0.001)
    bybit.synchronise(913_000, clock.monotonic(), 0.5)
    bybit.set_speed(60.0)
    assert 1_000_000 <= clock.at(BINANCE).now_ms() < 1_010_000
    assert (binance.speed, binance.error_ms, bybit.error_ms) == (1.0, 2, 30_001)
    assert bybit.at(BINANCE) is binance


def test_what_belongs_to_no_venue_is_dated_by_the_first() -> None:
    clock = MachineClock()
    assert abs(clock.now_ms() - clock.wall_ms()) < 1_000
    clock.at(BINANCE).synchronise(1_000_000, clock.monotonic())
    clock.at(BYBIT).synchronise(2_000_000, clock.monotonic())
    assert 1_000_000 <= clock.now_ms() < 1_010_000
