"""What really differs between venues: the calls, the rows and the frames. One class per venue implements it."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from tradingd.domain.account import AccountMode, AccountSnapshot, PositionProtection, SubmitOutcome, VenueOrder
from tradingd.domain.candles import Candle
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.orders import Fill, Order, OrderRequest
from tradingd.domain.records import LedgerRecord
from tradingd.execution.rate_budget import RateWindows
from tradingd.ports import StreamKey
from tradingd.venues.error_map import ErrorTable
from tradingd.venues.quirks import Quirks
from tradingd.venues.reply import Reply
from tradingd.venues.translate import Push

Params = dict[str, object]


class Caller(Protocol):
    """How a dialect reaches its venue."""

    def now_ms(self) -> int:
        """Venue time by our clock."""
        ...

    async def call(self, endpoint: str, params: Params) -> Reply:
        """One request by ccxt's name of the endpoint; never raises but VenueBanned and on cancel."""
        ...

    async def ask(self, endpoint: str, params: Params) -> Reply:
        """What the venue answers to a request that changes nothing, a refusal included; sent again when an answer is
        late or lost. Raises VenueError."""
        ...

    async def read(self, endpoint: str, params: Params) -> Any:
        """The decoded body of one request that must succeed; raises VenueError."""
        ...


@runtime_checkable
class KeepsProtection(Protocol):
    """A dialect of a venue that keeps stop and take profit as a state of the position."""

    async def set_protection(
        self, caller: Caller, rules: Instrument, stop: Decimal | None, take_profit: Decimal | None
    ) -> SubmitOutcome:
        """Set both for the whole position, none with None; the same values again are success."""
        ...

    async def read_protection(self, caller: Caller, rules: Instrument) -> PositionProtection:
        """What the position carries; raises VenueError."""
        ...


class Dialect(Protocol):
    """One venue's language. Methods that take a Caller send requests; the others are plain functions."""

    quirks: Quirks
    errors: ErrorTable

    def variant(self, path: str, params: Params) -> str:
        """The suffix of an endpoint's budget name where the weight depends on the parameters."""
        ...

    def stream_kind(self, url: str) -> str | None:
        """Which kind of stream a websocket url carries; None for none."""
        ...

    def candle_hash(self, stream: StreamKey) -> str:
        """ccxt's name of a candle subscription."""
        ...

    def acknowledged(self, frame: Any, subscriptions: dict[str, Any]) -> Iterable[str]:
        """The candle subscriptions (ccxt's names) that a frame proves to stand."""
        ...

    def is_pong(self, frame: Any) -> bool:
        """Whether a frame only answers a ping: no sign that candles still come."""
        ...

    async def watch_account(self, client: Any, now_ms: int) -> None:
        """Subscribe to the account through ccxt's client; returns with its first frame. `now_ms`: venue time."""
        ...

    def pushes(self, frame: Any) -> Iterable[Push]:
        """What a frame tells; raises when it cannot be understood."""
        ...

    def instruments(self, markets: Iterable[Any]) -> dict[InstrumentId, Instrument]:
        """The rules of what the daemon trades, from ccxt's markets."""
        ...

    def rate_windows(self, body: str) -> RateWindows:
        """The limits of requests that the answer with the rules names too, as it came; empty where it names none."""
        ...

    async def complete_rules(
        self, caller: Caller, rules: dict[InstrumentId, Instrument]
    ) -> dict[InstrumentId, Instrument]:
        """Add what the public rules lack (leverage caps)."""
        ...

    async def server_time_ms(self, caller: Caller) -> int:
        """The venue's clock, ms UTC; raises VenueError."""
        ...

    async def preflight(self, caller: Caller) -> AccountMode:
        """Who the account is and in which modes it trades; raises VenueError."""
        ...

    async def prepare(self, caller: Caller, rules: Instrument, leverage: int, margin_mode: str) -> None:
        """Set leverage and margin mode; "already so" is success. Raises VenueError."""
        ...

    async def candles(
        self, caller: Caller, rules: Instrument, timeframe: str, since_ms: int, limit: int
    ) -> list[Candle]:
        """Candles from `since_ms` on, ascending, the last one perhaps still forming; raises VenueError."""
        ...

    async def mark_price(self, caller: Caller, rules: Instrument) -> Decimal:
        """The price that triggers protective orders and liquidations; raises VenueError."""
        ...

    def submit_call(self, request: OrderRequest, rules: Instrument) -> tuple[str, Params]:
        """ccxt's endpoint name and the parameters of a submit."""
        ...

    def submit_endpoint(self, request: OrderRequest) -> str:
        """The budget's name of a submit."""
        ...

    def accepted(self, reply: Reply, request: OrderRequest) -> VenueOrder | None:
        """The order in the answer to a submit; None unless it is this very order."""
        ...

    def cancel_call(self, order: VenueOrder | Order, rules: Instrument) -> tuple[str, Params]:
        """ccxt's endpoint name and the parameters of a cancel."""
        ...

    def cancelled(self, reply: Reply) -> bool:
        """Whether the answer to a cancel names the order as cancelled."""
        ...

    async def find_order(self, caller: Caller, request: OrderRequest, rules: Instrument) -> VenueOrder | None:
        """The order by our id, open or final; None only when every book denied it. Raises VenueError."""
        ...

    async def open_orders(self, caller: Caller, rules: Instrument | None) -> list[VenueOrder]:
        """What is open in every book, of one instrument or of all; raises VenueError."""
        ...

    async def fills(self, caller: Caller, rules: Instrument, since_ms: int) -> list[Fill]:
        """Executions from `since_ms` on, each with its owner where known; raises VenueError."""
        ...

    async def bookings(self, caller: Caller, since_ms: int) -> list[LedgerRecord]:
        """All bookings on the wallet since then, ascending."""
        ...

    async def account(self, caller: Caller) -> AccountSnapshot:
        """Balance and positions; raises VenueError."""
        ...

    async def keep_account_stream(self, caller: Caller) -> bool:
        """Prolong the account stream's key; False when the key is gone and a new one is needed."""
        ...

    def forget_account_key(self, client: Any) -> None:
        """Make ccxt ask for a new key at the next subscription."""
        ...
