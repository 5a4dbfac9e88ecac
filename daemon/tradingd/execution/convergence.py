"""Accounts read until they agree with the fills (P17): one task per venue at a time."""

import asyncio

from tradingd.domain.errors import Severity, VenueError
from tradingd.domain.events import incident
from tradingd.domain.ids import VenueId
from tradingd.execution.balance_reconciler import BalanceReconciler
from tradingd.execution.desk import Desk


class Convergence:
    """Runs the reconciler's convergence behind each fill, and tells when it fails."""

    def __init__(self, desk: Desk, reconciler: BalanceReconciler) -> None:
        self._bus = desk.bus
        self._reconciler = reconciler
        self._tasks: dict[VenueId, asyncio.Task[None]] = {}

    def begin(self, venue: VenueId) -> None:
        """Begin to converge, unless that is under way."""
        task = self._tasks.get(venue)
        if task is None or task.done():
            self._tasks[venue] = asyncio.get_running_loop().create_task(self._run(venue), name=f"converge {venue}")

    async def _run(self, venue: VenueId) -> None:
        try:
            await self._reconciler.converge(venue)
        except VenueError as error:
            self._bus.publish(incident("converge_failed", Severity.WARNING, str(error), venue))
        except Exception as error:
            # a fault of ours: nobody waits for this task, and entries would stay denied without a word
            self._bus.publish(incident("converge_failed", Severity.CRITICAL, f"{error!r}", venue))

    def stop(self) -> None:
        """End all of them."""
        for task in self._tasks.values():
            task.cancel()
