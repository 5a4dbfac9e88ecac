"""The host's clock as the Clock port."""

from tradingd.app.machine import MachineClock


def test_a_venue_found_running_fast_scales_its_lags_at_once_while_our_time_keeps_its_pace() -> None:
    """A daemon that was started again beside a venue at speed 600 took a position of seven venue minutes ago for one
    that nobody here had opened: ten seconds after the last fill, by a clock that still ran at one, it was believed."""
    clock = MachineClock()
    clock.synchronise(1_000_000, clock.monotonic())
    clock.find_speed(600.0)
    assert clock.speed == 600.0
    assert 1_000_000 <= clock.now_ms() < 1_000_000 + 10_000


def test_a_speed_that_is_set_moves_our_time_and_does_not_make_it_jump() -> None:
    clock = MachineClock()
    began = clock.monotonic()
    clock.synchronise(1_000_000, began)
    clock.set_speed(600.0)
    passed_s = clock.monotonic() - began
    assert clock.speed == 600.0
    assert 1_000_000 <= clock.now_ms() <= 1_000_000 + (passed_s + 0.5) * 600_000
