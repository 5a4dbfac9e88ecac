"""Incidents: what an operator must know of, journalled, and open until acknowledged."""

import msgspec

from tradingd.domain.errors import TradingdError
from tradingd.domain.events import IncidentRaised, JournalChanged
from tradingd.domain.ids import Epoch
from tradingd.domain.records import IncidentRecord
from tradingd.domain.text import storable
from tradingd.ports import Clock, Journal

SAME_WITHIN_MS = 600_000
"""The same trouble told again within this real time is the same incident; its count grows."""
MAX_OPEN = 1_000
MAX_DETAIL = 2_000
"""Characters of a detail that are kept; a venue's or a library's text may stand in it."""


class Incidents:
    """Keeps the open incidents. What repeats is one incident with a count, so that a loop cannot flood the journal."""

    def __init__(self, store: Journal, clock: Clock, epoch: Epoch, recovered: tuple[IncidentRecord, ...]) -> None:
        self._store = store
        self._clock = clock
        self._epoch = epoch
        self._records = {record.incident_id: record for record in recovered}
        self._counts: dict[str, tuple[int, int]] = {}
        self._number = 0

    @property
    def open(self) -> list[IncidentRecord]:
        """Those not acknowledged, newest first."""
        standing = [record for record in self._records.values() if record.acknowledged_ms is None]
        return sorted(standing, key=lambda record: record.raised_ms, reverse=True)

    def on_incident(self, event: IncidentRaised) -> None:
        """Write one down; the same again counts up, at 2, 4, 8 … times in the journal."""
        now_ms = self._clock.wall_ms()
        known = self._same(event, now_ms)
        if known is None:
            self._number += 1
            clock = self._clock if event.venue is None else self._clock.at(event.venue)
            record = IncidentRecord(
                f"{self._epoch}-{self._number}",
                event.kind,
                event.severity,
                storable(event.detail, MAX_DETAIL),
                event.venue,
                event.instrument,
                event.strategy,
                clock.now_ms(),
            )
            self._counts[record.incident_id] = (1, now_ms)
        else:
            count = self._counts.get(known.incident_id, (1, now_ms))[0] + 1
            self._counts[known.incident_id] = (count, now_ms)
            if count & (count - 1):
                return
            record = msgspec.structs.replace(known, detail=f"{storable(event.detail, MAX_DETAIL)} ({count} times)")
        self._records[record.incident_id] = record
        self._save(record)
        while len(self._records) > MAX_OPEN:
            del self._records[next(iter(self._records))]

    def on_journal(self, event: JournalChanged) -> None:
        """The journal is whole again: its own incidents say so, and stay open until somebody has seen them."""
        if not event.writable:
            return
        over = f"over: the journal is whole again, {event.held} units were written late"
        for record in self.open:
            if record.kind == "journal_not_writable" and "; over: " not in record.detail:
                ended = msgspec.structs.replace(record, detail=f"{record.detail.rstrip('.')}; {over}")
                self._records[record.incident_id] = ended
                self._save(ended)

    def _same(self, event: IncidentRaised, now_ms: int) -> IncidentRecord | None:
        for record in reversed(self._records.values()):
            alike = (record.kind, record.venue, record.instrument, record.strategy) == (
                event.kind,
                event.venue,
                event.instrument,
                event.strategy,
            )
            last = self._counts.get(record.incident_id)
            if alike and record.acknowledged_ms is None and last is not None and now_ms - last[1] < SAME_WITHIN_MS:
                return record
        return None

    def acknowledge(self, incident_id: str) -> IncidentRecord:
        """Mark one as seen; raises TradingdError for an id that is not open."""
        record = self._records.get(incident_id)
        if record is None or record.acknowledged_ms is not None:
            ids = ", ".join(each.incident_id for each in self.open[:10]) or "none"
            raise TradingdError(f"incident {incident_id!r} is not open; open: {ids}")
        seen = msgspec.structs.replace(record, acknowledged_ms=self._clock.now_ms())
        self._records[incident_id] = seen
        self._save(seen)
        return seen

    def _save(self, record: IncidentRecord) -> None:
        future = self._store.submit((record,), durable=False)
        # a journal that cannot take it has an incident of its own, told by the recorder
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
