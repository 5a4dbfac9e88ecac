"""What a refused or unanswered order asks for beyond itself: the venue read anew, entries stopped, rules read."""

from collections.abc import Callable, Mapping

from tradingd.app.compose import Execution
from tradingd.app.refusals import CHECK_KEY, key_place
from tradingd.app.venue_session import VenueSession
from tradingd.domain.account import RejectKind, SubmitOutcome, SubmitVerdict
from tradingd.domain.errors import Severity
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.ports import Clock

RULES_AGAIN_S = 60.0
"""A venue that refuses order after order by its filters is not asked for its rules after each of them."""
EXITS_ONLY_S = 600.0
"""Venue seconds without entries where the venue itself takes only exits; then one may try again."""

KEY_AGAIN_S = 60.0
"""How long no entry is sent to a venue that refused the key of one."""

READ_ANEW = (RejectKind.NOT_SENT, RejectKind.CLOCK, RejectKind.AUTHENTICATION)


class Trouble:
    """Acts on the outcomes of submits; what becomes of the order itself is decided where it was sent."""

    def __init__(
        self,
        execution: Execution,
        sessions: Mapping[VenueId, VenueSession],
        clock: Clock,
        want_rules: Callable[[VenueId], None],
    ) -> None:
        self._execution = execution
        self._sessions = sessions
        self._clock = clock
        self._want_rules = want_rules
        self._rules_wanted_at: dict[VenueId, float] = {}
        self._key_refused_until: dict[VenueId, float] = {}

    def on_outcome(self, instrument: InstrumentId, outcome: SubmitOutcome) -> None:
        """An order, or a stop as a state, that the venue did not take, or of which nobody knows."""
        kind = outcome.kind
        session = self._sessions[instrument.venue]
        if outcome.verdict is SubmitVerdict.AMBIGUOUS:
            session.ask_recovery(outcome.told())
            return
        if kind in READ_ANEW:
            # before any other entry: the clock, the key or the connection is not what it was
            session.ask_recovery(outcome.told())
        if kind is RejectKind.AUTHENTICATION:
            self._stop_entries(instrument, outcome)
        elif kind is RejectKind.CONFIGURATION and instrument not in self._execution.state.blocked:
            session.block(instrument, f"an order can never be taken like this: {outcome.told()}")
        elif kind is RejectKind.VENUE_REDUCE_ONLY:
            self._take_exits_only(instrument, outcome)
        elif kind is RejectKind.FILTER:
            self._read_rules(instrument.venue)

    def _stop_entries(self, instrument: InstrumentId, outcome: SubmitOutcome) -> None:
        """The key or a right of it is gone: entries at this venue are tried again in a while, not with every candle.
        Exits and protection go on being tried; the other venues have keys of their own."""
        venue, now_s = instrument.venue, self._clock.monotonic()
        if now_s < self._key_refused_until.get(venue, 0.0):
            return
        until_s = self._key_refused_until[venue] = now_s + KEY_AGAIN_S
        why = f"{venue} refuses the key: {outcome.told().rstrip('.')}"
        for each in self._execution.state.instruments_of(venue):
            self._execution.state.exits_only[each] = (until_s, why)
        todo = f"{CHECK_KEY}; it is taken from {key_place(venue)}"
        after = f"entries on {venue} are tried again after {KEY_AGAIN_S:g} s, stops and exits once it takes the key"
        self._execution.recorder.incident("key_refused", Severity.CRITICAL, f"{why}. {todo}. {after}", venue)

    def _take_exits_only(self, instrument: InstrumentId, outcome: SubmitOutcome) -> None:
        why = f"{instrument} takes only exits for now: {outcome.told()}"
        until_s = self._clock.monotonic() + EXITS_ONLY_S / self._clock.at(instrument.venue).speed
        self._execution.state.exits_only[instrument] = (until_s, why)
        self._execution.recorder.incident("exits_only", Severity.WARNING, why, instrument)

    def _read_rules(self, venue: VenueId) -> None:
        """An order broke a filter, so ours are old: the venue's are read at once."""
        now_s = self._clock.monotonic()
        if now_s - self._rules_wanted_at.get(venue, -RULES_AGAIN_S) >= RULES_AGAIN_S:
            self._rules_wanted_at[venue] = now_s
            self._want_rules(venue)
