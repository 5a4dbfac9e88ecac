"""The daemon's own tasks: named, watched, and none dies unheard."""

import asyncio

import pytest

from tests.execution.virtual_time import in_virtual_time
from tradingd.app.tasks import Tasks, all_or_one


@pytest.mark.fault(88)
@in_virtual_time
async def test_the_first_fault_of_ours_is_what_ends_the_daemon():
    tasks = Tasks()

    async def first() -> None:
        await asyncio.sleep(1)
        raise KeyError("ours")

    async def later() -> None:
        await asyncio.sleep(2)
        raise ValueError("too late")

    tasks.start("first", first())
    tasks.start("later", later())
    assert isinstance(await tasks.failed, KeyError)
    await asyncio.sleep(3)
    tasks.fail(OSError("too late as well"))
    assert isinstance(tasks.failed.result(), KeyError)
    await tasks.stop()


@in_virtual_time
async def test_stopping_cancels_and_waits_and_is_no_failure():
    tasks = Tasks()
    ended = []

    async def forever() -> None:
        try:
            await asyncio.sleep(10**6)
        finally:
            ended.append(True)

    tasks.start("forever", forever())
    await asyncio.sleep(1)
    await tasks.stop()
    assert ended == [True]
    assert not tasks.failed.done()


@in_virtual_time
async def test_a_venue_that_never_comes_holds_up_the_start_for_its_limit_and_no_longer():
    there, never = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_later(3, there.set)
    began = loop.time()
    await all_or_one(50, there, never)
    assert loop.time() - began == pytest.approx(50)


@in_virtual_time
async def test_a_start_with_all_venues_there_waits_for_no_limit_and_one_without_any_goes_on_waiting():
    one, other = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    waiting = asyncio.ensure_future(all_or_one(50, one, other))
    await asyncio.sleep(60)
    assert not waiting.done()
    other.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await waiting
    began = loop.time()
    one.set()
    await all_or_one(50, one, other)
    assert loop.time() == began
