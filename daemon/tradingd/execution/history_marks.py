"""Up to when the venue's executions were read, kept across restarts: what a push tells in between moves nothing."""

from collections.abc import Iterable

from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Fill
from tradingd.domain.records import FlagRecord
from tradingd.execution.recorder import Recorder

FILL_OVERLAP_MS = 600_000
"""Fills are read again this far back: a venue's history may lag its stream. Trade ids make it harmless."""
QUIET_MS = 6 * 86_400_000
"""No history lags by so much: an instrument without fills is read no further back, or it would cost one request more
for each week (Binance answers for seven days at a time)."""
KEEP_EVERY_MS = 86_400_000
"""A mark that time alone moved is written down so often."""
READ_FLAG = "fills_read:"


class HistoryMarks:
    """For each instrument the newest execution that a reading has returned.

    Not the newest that is booked: a stream may be deaf for an hour and then push one, and after a crash right behind it
    the next run would begin to read there.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._start_ms: dict[VenueId, int] = {}
        self._until_ms: dict[InstrumentId, int] = {}
        self._kept_ms: dict[InstrumentId, int] = {}

    def begin(self, venue: VenueId, start_ms: int, flags: Iterable[FlagRecord]) -> None:
        """Take over what earlier runs read; `start_ms`: the first start at the venue."""
        self._start_ms[venue] = start_ms
        for flag in flags:
            if flag.name.startswith(READ_FLAG):
                instrument = InstrumentId.parse(flag.name.removeprefix(READ_FLAG))
                if instrument.venue == venue:
                    self._until_ms[instrument] = self._kept_ms[instrument] = int(flag.value)

    def since_ms(self, instrument: InstrumentId, now_ms: int) -> int:
        """From when on the next reading asks; `now_ms`: the venue's time, which may have been ahead for a while and be
        right again. A mark of that while would hide what is filled until then."""
        start_ms = self._start_ms[instrument.venue]
        return max(start_ms, min(now_ms, self._until_ms.get(instrument, start_ms)) - FILL_OVERLAP_MS)

    def note(self, instrument: InstrumentId, asked_ms: int, fills: Iterable[Fill]) -> None:
        """A reading from `since_ms` on, asked for at `asked_ms`, gave `fills`, which are booked by now."""
        newest_ms = max((fill.time_ms for fill in fills), default=0)
        until_ms = max(self._until_ms.get(instrument, 0), newest_ms, asked_ms - QUIET_MS)
        self._until_ms[instrument] = until_ms
        kept_ms = self._kept_ms.get(instrument, 0)
        if until_ms == kept_ms or (newest_ms <= kept_ms and until_ms < kept_ms + KEEP_EVERY_MS):
            return
        self._kept_ms[instrument] = until_ms
        flag = FlagRecord(f"{READ_FLAG}{instrument}", str(until_ms), "executions were read so far", asked_ms)
        self._recorder.commit((flag,), durable=False)
