"""A host whose clock runs a little fast: the offset follows, and nothing is refused for its time."""

from pathlib import Path

import pytest

from tests.simulation.worlds import broken, scripted, verdict
from tradingd.simulation.clock import SimClock
from tradingd.simulation.world import CLOCK_PROBE_S

FAST = 1 + 500e-6
"""Five times what a poor crystal does."""


@pytest.mark.fault(29)
@pytest.mark.parametrize("rate", [FAST, 2 - FAST])
def test_a_clock_that_drifts_is_set_again_before_it_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    monkeypatch.setattr(SimClock, "monotonic", lambda clock: clock._timeline.now * rate)
    world = scripted(tmp_path, "1 buy 0.02 0.02; 50 exit; 55 buy 0.02 0.02; 90 exit; 95 buy 0.02 0.02; 110 exit")
    off_ms: list[float] = []
    try:
        world.start()
        for _ in range(120):
            world.run_for(60)
            assert world.daemon is not None
            off_ms.append(world.daemon.clock.now_ms() - world.venue.now_ms)
        assert world.daemon is not None and world.daemon.core is not None
        assert world.daemon.core.execution.router.is_ready(next(iter(world.daemon.core.sessions)))
        drifted_ms = 120 * 60_000 * abs(rate - 1)
        assert drifted_ms > 3_000, "alone it would leave the receive window"
        assert max(map(abs, off_ms)) < CLOCK_PROBE_S * 2 * 1000 * abs(rate - 1) + 200
        assert broken(verdict(world, entries=3)) == set()
    finally:
        world.close()
