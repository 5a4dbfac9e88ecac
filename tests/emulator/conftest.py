"""What every test of a built-in venue needs."""

import pytest
from ccxt.base.exchange import BaseExchange

CLOCK = {name: vars(BaseExchange)[name] for name in ("milliseconds", "seconds", "microseconds")}
"""ccxt's own, as it was before any client of ours gave its class another."""


@pytest.fixture(autouse=True)
def ccxts_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare client tells the time by its class, and a world in the same process may have left it a virtual one."""
    for name, own in CLOCK.items():
        monkeypatch.setattr(BaseExchange, name, own)
