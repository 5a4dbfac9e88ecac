"""The journal as a daemon sees it that can be killed around every commit."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from tradingd.domain.errors import JournalError
from tradingd.domain.ids import ClientOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Order
from tradingd.domain.records import Record, Recovered
from tradingd.journal.store import InlineStore


class SimStore:
    """The real inline store behind a fence: `boundary` is asked before and after each commit, and may kill."""

    def __init__(
        self,
        inner: InlineStore,
        boundary: Callable[[str], None],
        is_broken: Callable[[], bool],
        fence: Callable[[], None],
    ) -> None:
        self.inner = inner
        self._boundary = boundary
        self._is_broken = is_broken
        self._fence = fence

    def submit(
        self, records: Sequence[Record], *, durable: bool = True, applied: Callable[[], None] | None = None
    ) -> "asyncio.Future[None]":
        """Commit one unit now."""
        self._fence()
        if self._is_broken():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.set_exception(JournalError("the journal could not commit: database or disk is full"))
            return future
        if not records:
            return self.inner.submit((), durable=durable)  # a look, not a commit: nothing to be killed around
        self._boundary("before commit")
        future = self.inner.submit(records, durable=durable)
        self._boundary("after commit")
        return future

    async def recover(self, now_ms: int) -> Recovered:
        """What a start needs."""
        return await self.inner.recover(now_ms)

    async def seen_trades(self, instrument: InstrumentId, since_ms: int) -> frozenset[str]:
        """Trade ids on the instrument."""
        self._fence()
        return await self.inner.seen_trades(instrument, since_ms)

    async def find_order(self, client_order_id: ClientOrderId) -> Order | None:
        """An order by our id."""
        self._fence()
        return await self.inner.find_order(client_order_id)

    async def check_writable(self) -> None:
        """Prove that a commit succeeds."""
        self._fence()
        if self._is_broken():
            raise JournalError("the journal could not commit: database or disk is full")
        await self.inner.check_writable()

    def set_aside(self, records: Sequence[Record], reason: str) -> str:
        """Keep a refused unit beside the journal."""
        self._fence()
        return self.inner.set_aside(records, reason)

    async def pin(self, pins: Mapping[str, str], now_ms: int) -> None:
        """Pin names to values."""
        self._fence()
        await self.inner.pin(pins, now_ms)

    async def close(self) -> None:
        """The world closes the file."""
