"""The settings: frozen, complete, validated. config.toml documents every key; its names and these are the same."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from tradingd.config.locate import Path
from tradingd.config.problems import Position
from tradingd.config.source import Problems, Source
from tradingd.domain.candles import TIMEFRAMES
from tradingd.domain.instruments import InstrumentId

VENUES = ("binance", "bybit", "bitget")
"""Venues that have a name here; those in VENUES_BUILT can be enabled."""
VENUES_BUILT = ("binance", "bybit")
MODES_NOT_BUILT = ("paper", "replay")
FOREIGN_POSITION_NOT_BUILT = ("adopt", "guard", "flatten")
INSTRUMENT_FORM = "BASE/QUOTE:SETTLE@venue, e.g. BTC/USDT:USDT@binance"

Mode = Literal["sim", "paper", "testnet", "live", "replay"]


def _number(value: object) -> object:
    """An int or a Decimal as Decimal; TOML floats arrive as Decimal already, so nothing is lost."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not Decimal(value).is_finite():
        raise PydanticCustomError("number_type", "a number")
    return Decimal(str(value))


def _seconds(value: object) -> object:
    number = _number(value)
    return float(number) if isinstance(number, Decimal) else number


def _instrument(value: object) -> object:
    if isinstance(value, InstrumentId):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("instrument", "an instrument is a string")
    try:
        return InstrumentId.parse(value)
    except ValueError as error:
        raise PydanticCustomError("instrument", "{reason}", {"reason": str(error)}) from None


def _timeframe(value: str) -> str:
    if value not in TIMEFRAMES:
        raise PydanticCustomError("choice", "not a timeframe")
    return value


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    try:
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        good = False
    if not good or parts.username or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise PydanticCustomError("endpoint", "not an endpoint")
    return value.rstrip("/")


def _journal_path(value: str) -> str:
    rest = value.replace("{state_dir}", "").replace("{mode}", "")
    if not value or "{" in rest or "}" in rest:
        raise PydanticCustomError("journal_path", "not a path")
    return value


def _named(value: object) -> object:
    if value == "":  # it would be the working directory, and the journal between whatever else lies there
        raise PydanticCustomError("directory", "not a directory")
    return value


def _none() -> Mapping[str, Any]:
    return MappingProxyType({})


def _frozen(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


Money = Annotated[Decimal, Field(gt=0, le=1_000_000_000), BeforeValidator(_number)]
Fraction = Annotated[Decimal, Field(gt=0, le=1), BeforeValidator(_number)]
Leverage = Annotated[int, Field(ge=1, le=125)]
AS_SECONDS = BeforeValidator(_seconds)
"""Beside the bounds, in one annotation: in a second one around it the JSON schema would not know them."""
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=32)]
FileName = Annotated[FilePath, Field(strict=False)]
Directory = Annotated[FilePath, Field(strict=False), BeforeValidator(_named)]
Instrument = Annotated[
    InstrumentId, BeforeValidator(_instrument), WithJsonSchema({"type": "string", "description": INSTRUMENT_FORM})
]
Timeframe = Annotated[str, AfterValidator(_timeframe), WithJsonSchema({"type": "string", "enum": list(TIMEFRAMES)})]
Endpoint = Annotated[
    str,
    AfterValidator(_endpoint),
    WithJsonSchema({"type": "string", "description": "http://host:port, without a path"}),
]
JournalPath = Annotated[
    str,
    AfterValidator(_journal_path),
    WithJsonSchema({"type": "string", "description": "a path; {state_dir} and {mode} are filled in"}),
]


class Section(BaseModel):
    """Base of every table of the file: immutable, strict about types, and without room for unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)


class DaemonSettings(Section):
    """[daemon]: what runs, under which name, and where it keeps its state."""

    mode: Mode = "sim"
    name: Name = "tradingd"
    order_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{1,6}$")] = "td"
    strategies_dir: FileName = FilePath("strategies")
    state_dir: Directory = FilePath("var")
    speed: Annotated[int, Field(ge=1, le=600)] = 1


class JournalSettings(Section):
    """[journal]: `path` with its placeholders; `Settings.journal_path` is the file."""

    path: JournalPath = "{state_dir}/{mode}.db"


class VenueSettings(Section):
    """[venues.<id>]: an account on a venue; `candles`, `faults`, `market_seed`, `port` are of built-in venues only."""

    enabled: bool = True
    endpoint: Endpoint | None = None
    leverage: Leverage = 5
    margin_mode: Literal["cross", "isolated"] = "cross"
    receive_window_ms: Annotated[int, Field(ge=500, le=60_000)] = 3_000
    credentials_file: FileName | None = None
    candles: FileName | None = None
    faults: FileName | None = None
    market_seed: Annotated[int, Field(ge=0, le=2**53)] = 1
    port: Annotated[int, Field(ge=0, le=65_535)] = 0


class RiskSettings(Section):
    """[risk]: limits for entries; exits and protective orders are never refused by one of them."""

    require_stop: bool = True
    max_position_notional_usdt: Money = Decimal(5_000)
    max_open_positions: Annotated[int, Field(ge=1, le=1_000)] = 5
    max_leverage: Leverage = 10
    max_daily_loss_fraction: Fraction = Decimal("0.05")
    max_drawdown_fraction: Fraction = Decimal("0.2")
    price_band_fraction: Fraction = Decimal("0.02")
    max_candle_age_s: Annotated[float, Field(gt=0, le=86_400), AS_SECONDS] = 10.0


class ExecutionSettings(Section):
    """[execution]: times and policies of the order pipeline; all times are real time, never scaled by `speed`."""

    submit_timeout_s: Annotated[float, Field(ge=0.1, le=30), AS_SECONDS] = 2.0
    visibility_margin_ms: Annotated[int, Field(ge=0, le=60_000)] = 2_000
    unprotected_limit_s: Annotated[float, Field(ge=0.5, le=60), AS_SECONDS] = 5.0
    look_every_s: Annotated[float, Field(ge=0.5, le=60), AS_SECONDS] = 2.0
    converge_timeout_s: Annotated[float, Field(ge=0.5, le=300), AS_SECONDS] = 10.0
    reconcile_interval_s: Annotated[float, Field(ge=1, le=3_600), AS_SECONDS] = 60.0
    sweep_interval_s: Annotated[float, Field(ge=1, le=3_600), AS_SECONDS] = 60.0
    stale_after_s: Annotated[float, Field(ge=1, le=300), AS_SECONDS] = 15.0
    sweep_before_entry: Literal["proof", "always"] = "proof"
    foreign_orders: Literal["deny", "ignore"] = "deny"
    foreign_position: Literal["deny", "adopt", "guard", "flatten"] = "deny"
    handler_budget_ms: Annotated[int, Field(ge=1, le=10_000)] = 50
    handler_limit_ms: Annotated[int, Field(ge=10, le=60_000)] = 1_000
    backfill_limit_candles: Annotated[int, Field(ge=1, le=100_000)] = 1_500


class StrategySettings(BaseModel):
    """[strategies.<id>]: a plugin, what it trades, and its own `parameters`, which the strategy loader checks."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, arbitrary_types_allowed=True)

    plugin: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*$", max_length=64)]
    instruments: Annotated[tuple[Instrument, ...], Field(strict=False, min_length=1, max_length=100)]
    timeframe: Timeframe = "1m"
    warmup: Annotated[int, Field(ge=0, le=1_500)] = 0
    hold_candles: Annotated[int, Field(ge=0, le=10_000)] = 1

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The remaining keys as TOML gave them; decimal fractions are Decimal."""
        return MappingProxyType(self.model_extra or {})


class LogSettings(Section):
    """[log]: how much is said, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    heartbeat_s: Annotated[float, Field(ge=0.1, le=3_600), AS_SECONDS] = 10.0


class MqttSettings(Section):
    """[mqtt]: the broker that state and events are published to; its password is never here, but a credential."""

    enabled: bool = False
    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:_-]+$", max_length=255)] = "localhost"
    port: Annotated[int, Field(ge=1, le=65_535)] = 1883
    tls: bool = False
    ca_file: FileName | None = None
    username: Annotated[str, StringConstraints(max_length=256)] = ""
    password_file: FileName | None = None
    topic: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", max_length=100)] = "tradingd"


class Settings(Section):
    """All settings of one run. Paths are resolved; only `state_dir` may be relative, to the working directory."""

    daemon: DaemonSettings = DaemonSettings()
    journal: JournalSettings = JournalSettings()
    venues: Annotated[Mapping[Name, VenueSettings], AfterValidator(_frozen)] = Field(default_factory=_none)
    risk: RiskSettings = RiskSettings()
    execution: ExecutionSettings = ExecutionSettings()
    strategies: Annotated[Mapping[Name, StrategySettings], AfterValidator(_frozen)] = Field(default_factory=_none)
    log: LogSettings = LogSettings()
    mqtt: MqttSettings = MqttSettings()

    _source: Source = PrivateAttr()

    @property
    def mode(self) -> Mode:
        """The global mode."""
        return self.daemon.mode

    @property
    def config_file(self) -> FilePath:
        """The file that was read."""
        return FilePath(self._source.file)

    @property
    def journal_path(self) -> FilePath:
        """The journal's file, placeholders filled in: by default one per mode, inside the state directory."""
        text = self.journal.path.replace("{state_dir}", str(self.daemon.state_dir)).replace("{mode}", self.mode)
        return FilePath(text)

    @property
    def enabled_venues(self) -> Mapping[str, VenueSettings]:
        """The venues that are to be used."""
        return {name: venue for name, venue in self.venues.items() if venue.enabled}

    @property
    def resting(self) -> frozenset[str]:
        """Strategies whose venues are all switched off: they are left alone with them."""
        off = {name for name, venue in self.venues.items() if not venue.enabled}
        return frozenset(
            name
            for name, section in self.strategies.items()
            if {instrument.venue for instrument in section.instruments} <= off
        )

    def locate(self, path: Path) -> Position | str:
        """Where the value at `path`, e.g. ("strategies", "trend", "fast"), was set: a position, or words."""
        return self._source.place(path)

    def origin(self, path: Path) -> str:
        """Where an effective value comes from: "default", "FILE line N" or "environment variable X"."""
        return self._source.origin(path)

    def problems(self) -> Problems:
        """An empty collector of problems, for whoever checks what the loader cannot know, such as parameters."""
        return Problems(self._source)
