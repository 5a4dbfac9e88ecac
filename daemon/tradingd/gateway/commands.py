"""What an operator can ask of a running daemon, and the shape of the answer; shared by daemon and command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from tradingd.domain.errors import TradingdError
from tradingd.domain.text import storable

MAX_MESSAGE_BYTES = 65_536
"""The longest request."""
MAX_REPLY_BYTES = 4 * 1024 * 1024


class BadCommand(TradingdError, ValueError):
    """A command or an argument that does not exist; the text names those that do."""


class Command(msgspec.Struct, frozen=True):
    """One command: its required and optional arguments, all of them text. A reading one changes nothing."""

    help: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    reads: bool = False


COMMANDS: dict[str, Command] = {
    "status": Command("what runs, what is held, what is wrong", reads=True),
    "pause": Command("deny entries until resume; exits and protection go on", optional=("reason",)),
    "resume": Command("allow entries again"),
    "flatten": Command("pause, cancel own entries and close positions", optional=("venue", "symbol")),
    "incidents": Command("what an operator must know of", reads=True),
    "incidents_ack": Command("mark one incident as seen", required=("id",)),
    "strategies_lift": Command("let a quarantined strategy run again", required=("id",)),
    "stop": Command("stop in order; protection stays on the venue"),
}


def check_command(name: object, arguments: object) -> tuple[str, dict[str, str]]:
    """The command and its arguments, known, complete and storable; raises BadCommand."""
    command = COMMANDS.get(name) if isinstance(name, str) else None
    if command is None:
        raise BadCommand(f"command {name!r} is not known; allowed: {', '.join(COMMANDS)}")
    if not isinstance(arguments, Mapping):
        raise BadCommand("arguments must be a JSON object")
    allowed = (*command.required, *command.optional)
    for key, value in arguments.items():
        if key not in allowed:
            raise BadCommand(f"{name} has no argument {key!r}; allowed: {', '.join(allowed) or 'none'}")
        if not isinstance(value, str):
            raise BadCommand(f"argument {key} of {name} is {value!r}; allowed: text")
    missing = [key for key in command.required if not arguments.get(key)]
    if missing:
        raise BadCommand(f"{name} needs the argument {', '.join(missing)}")
    return str(name), {key: storable(value) for key, value in arguments.items()}


def socket_path(state_dir: Path, mode: str) -> Path:
    """Where the daemon of that state directory and mode listens."""
    return state_dir / f"{mode}.sock"


class VenueStatus(TypedDict):
    """One venue in `status`; `exits_only`: the instruments where no entry is sent, each with why."""

    venue: str
    state: str
    reason: str
    equity_usdt: str | None
    available_usdt: str | None
    exits_only: dict[str, str]


class PositionStatus(TypedDict):
    """One open position in `status`; `covered`: a live venue-side stop covers its whole size."""

    instrument: str
    strategy: str | None
    quantity: str
    entry_price: str | None
    unrealized_pnl_usdt: str | None
    stop_loss: str | None
    take_profit: str | None
    covered: bool


class UnknownOrder(TypedDict):
    """An order that the venue may or may not have."""

    client_order_id: str
    instrument: str
    status: str
    age_s: float


class DeniedLast(TypedDict):
    """The last intent that was refused."""

    time_ms: int
    strategy: str
    instrument: str
    reason: str
    detail: str


class StrategyStatus(TypedDict):
    """One strategy in `status`; `state` is running or quarantined."""

    strategy: str
    plugin: str
    state: str
    reason: str


class IncidentStatus(TypedDict):
    """One incident in `incidents`, `{"incidents": [...]}`, newest first."""

    incident_id: str
    kind: str
    severity: str
    detail: str
    venue: str | None
    instrument: str | None
    strategy: str | None
    raised_ms: int
    acknowledged_ms: int | None


class Status(TypedDict):
    """The answer to `status`. Money is text, exact; `paused` and `halted` are the reason, or None.
    `journal_reason`: why the journal cannot be written, None while it can; `journal_unwritable_s`: for how long."""

    name: str
    mode: str
    version: str
    pid: int
    uptime_s: float
    now_ms: int
    speed: float
    paused: str | None
    halted: str | None
    stopping: bool
    journal_writable: bool
    journal_reason: str | None
    journal_unwritable_s: float | None
    entries_allowed: bool
    equity_usdt: str | None
    venues: list[VenueStatus]
    stream_ages_s: dict[str, float]
    positions: list[PositionStatus]
    unknown_orders: list[UnknownOrder]
    strategies: list[StrategyStatus]
    denied_last: DeniedLast | None
    incidents_open: int


Reply = dict[str, Any]
"""`{"ok": true, "result": {...}}` or `{"ok": false, "error": "...", "kind": "bad_command" | "refused" | ...}`."""
