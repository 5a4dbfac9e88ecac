"""Stop and take profit as a state of the position, where a venue has that: set, not placed, and read, not looked up."""

from decimal import Decimal

from tradingd.domain.account import PositionProtection, RejectKind, SubmitOutcome, SubmitVerdict
from tradingd.domain.errors import TradingdError, VenueBanned
from tradingd.domain.instruments import InstrumentId
from tradingd.ports import CallContext, Priority, call_context
from tradingd.venues.calling import Calls
from tradingd.venues.dialect import Dialect, KeepsProtection
from tradingd.venues.translate import Book


class StateProtection:
    """The protection of one venue's positions. Prices lie on the tick; both belong to the mark price."""

    def __init__(self, dialect: KeepsProtection, calls: Calls, book: Book) -> None:
        self._dialect = dialect
        self._calls = calls
        self._book = book

    async def set(
        self, instrument: InstrumentId, stop: Decimal | None, take_profit: Decimal | None, priority: Priority
    ) -> SubmitOutcome:
        """Set both, none with None. The same again is success: after an answer that was lost, set or read it again,
        there is nothing to look up. Never raises but on cancel."""
        context = CallContext(priority)
        token = call_context.set(context)
        try:
            return await self._dialect.set_protection(self._calls, self._book.rules(instrument), stop, take_profit)
        except TradingdError as error:  # raised before the wire: no such instrument, banned, closed
            kind = RejectKind.BANNED if isinstance(error, VenueBanned) else RejectKind.NOT_SENT
            return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=kind, message=str(error), sent=context.posted)
        finally:
            call_context.reset(token)

    async def read(self, instrument: InstrumentId, priority: Priority) -> PositionProtection:
        """What the position carries now; raises VenueError."""
        token = call_context.set(CallContext(priority))
        try:
            return await self._dialect.read_protection(self._calls, self._book.rules(instrument))
        finally:
            call_context.reset(token)


def protection_by_state(dialect: Dialect, calls: Calls, book: Book) -> StateProtection | None:
    """The capability of a venue, None where protection is made of orders."""
    return StateProtection(dialect, calls, book) if isinstance(dialect, KeepsProtection) else None
