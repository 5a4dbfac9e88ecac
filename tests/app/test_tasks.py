"""The daemon's own tasks: named, watched, and none dies unheard."""

import asyncio

import pytest

from tests.execution.virtual_time import in_virtual_time
from tradingd.app.tasks import Tasks


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
