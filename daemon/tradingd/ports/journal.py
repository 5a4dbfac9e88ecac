"""The record on the disk: who adds to it, and who reads it at a start."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from tradingd.domain.ids import ClientOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Order
from tradingd.domain.records import Record, Recovered


class Journal(Protocol):
    """The journal as those see it who only add to it; execution's recorder is one, and holds what cannot commit."""

    def submit(self, records: Sequence[Record], *, durable: bool = True) -> "asyncio.Future[None]":
        """Queue one unit at once; the future ends after its COMMIT, or with JournalError. FULL sync when durable."""
        ...


class Store(Protocol):
    """The journal. One writer, ordered; a unit commits whole or not at all; a cancelled caller's unit still commits."""

    def submit(
        self, records: Sequence[Record], *, durable: bool = True, applied: Callable[[], None] | None = None
    ) -> "asyncio.Future[None]":
        """Queue one unit at once; the future ends after its COMMIT, or with JournalError. FULL sync when durable."""
        ...

    async def recover(self, now_ms: int) -> Recovered:
        """What a start needs."""
        ...

    async def seen_trades(self, instrument: InstrumentId, since_ms: int) -> frozenset[str]:
        """Trade ids on the instrument since `since_ms`."""
        ...

    async def find_order(self, client_order_id: ClientOrderId) -> Order | None:
        """An order by our id, final or not."""
        ...

    async def check_writable(self) -> None:
        """Prove that a commit succeeds; raises JournalError."""
        ...

    def set_aside(self, records: Sequence[Record], reason: str) -> str:
        """Keep a unit that was refused (JournalUnitRefused) in a file beside the journal; returns where. OSError."""
        ...

    async def close(self) -> None:
        """Drain the queue, then close."""
        ...
