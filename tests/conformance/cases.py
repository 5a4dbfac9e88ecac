"""How a case is written: a coroutine over a bench, which becomes one test for each implementation."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.conformance.bench import Bench, Face

Case = Callable[[Bench], Coroutine[Any, Any, None]]
Played = Callable[[Callable[[], Face]], None]


def case(work: Case) -> Played:
    """Play it on a fresh venue, open and in virtual time."""

    async def play(face: Face) -> None:
        bench = Bench(face)
        try:
            await bench.open()
            await work(bench)
        finally:
            await bench.close()

    def test(implementation: Callable[[], Face]) -> None:
        face = implementation()
        face.run(play(face))

    test.__name__, test.__doc__, test.__module__ = work.__name__, work.__doc__, work.__module__
    return test


def each(**values: list[Any]) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Any]:
    """The same case for each of these values of one argument."""
    (options,) = values.values()

    def wrap(work: Callable[..., Coroutine[Any, Any, None]]) -> Any:
        def test(implementation: Callable[[], Face], value: Any) -> None:
            async def one(bench: Bench) -> None:
                await work(bench, value)

            case(one)(implementation)

        test.__name__, test.__doc__, test.__module__ = work.__name__, work.__doc__, work.__module__
        return pytest.mark.parametrize("value", options, ids=str)(test)

    return wrap


def not_applicable(reason: str) -> None:
    """End the case: it has no meaning here. The summary prints the reason."""
    pytest.skip(f"not applicable: {reason}")
