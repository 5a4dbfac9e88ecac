"""What strategies may see of the account, read from the state that execution keeps."""

from decimal import Decimal

from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.positions import Position
from tradingd.execution.state import TradingState


class StateAccountView:
    """The strategies' view: readings from memory, None where the venue has not been read yet."""

    def __init__(self, state: TradingState) -> None:
        self._state = state

    def position(self, instrument: InstrumentId) -> Position:
        """The position of the booked fills; what the venue reported and has not itemised yet is not in it."""
        return self._state.position(instrument)

    def equity(self, venue: VenueId) -> Decimal | None:
        """Balance with unrealised profit and loss, USDT."""
        account = self._state.accounts.get(venue)
        return account.balance.equity if account else None

    def available(self, venue: VenueId) -> Decimal | None:
        """Margin that a new order may use, USDT: the venue's own field, never the total."""
        account = self._state.accounts.get(venue)
        return account.balance.available if account else None

    def last_price(self, instrument: InstrumentId) -> Decimal | None:
        """The latest price seen on any stream."""
        return self._state.last_price(instrument)

    def rules(self, instrument: InstrumentId) -> Instrument:
        """The venue's rules for the instrument."""
        return self._state.instruments[instrument]
