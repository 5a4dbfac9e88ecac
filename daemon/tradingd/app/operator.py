"""What an operator asks of the running daemon: status, pause, resume, flatten, incidents, stop."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tradingd import __version__
from tradingd.app.compose import Execution
from tradingd.app.incidents import Incidents
from tradingd.app.machine import pid
from tradingd.app.venue_session import VenueSession
from tradingd.config import Settings
from tradingd.domain.errors import TradingdError
from tradingd.domain.events import IntentDenied, JournalChanged, VenueState
from tradingd.domain.ids import StrategyId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.numbers import plain_text
from tradingd.domain.positions import Position
from tradingd.domain.records import FlagRecord
from tradingd.execution.loss_limits import DRAWDOWN
from tradingd.gateway.commands import (
    DeniedLast,
    IncidentStatus,
    PositionStatus,
    Status,
    StrategyStatus,
    UnknownOrder,
    VenueStatus,
)
from tradingd.ports import Clock
from tradingd.strategy.host import StrategyHost

FLATTEN_WAIT_S = 30.0
EQUITY_DECIMALS = 8
"""Of the sum over venues, as venues write balances themselves."""


class Operator:
    """Answers from memory, at once; only flatten waits, for the venue to be flat."""

    def __init__(
        self,
        settings: Settings,
        execution: Execution,
        sessions: dict[VenueId, VenueSession],
        host: StrategyHost,
        incidents: Incidents,
        clock: Clock,
        stop: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._execution = execution
        self._sessions = sessions
        self._host = host
        self._incidents = incidents
        self._clock = clock
        self._stop = stop
        self._started = clock.monotonic()
        self._denied: IntentDenied | None = None
        self._denied_ms = 0
        self._unwritable_since: float | None = None

    # --- StatusSource ---------------------------------------------------------------------------------------------

    def stream_ages_s(self) -> dict[str, float]:
        """Real seconds since the last sign of life, by stream."""
        ages: dict[str, float] = {}
        for session in self._sessions.values():
            if session.supervisor is not None:
                ages.update(session.supervisor.ages_s())
        return ages

    def equity_usdt(self) -> Decimal | None:
        """Equity of all venues; None while one of them has not been read."""
        total = Decimal(0)
        for venue in self._sessions:
            account = self._execution.state.accounts.get(venue)
            if account is None or account.balance.equity is None:
                return None
            total += account.balance.equity
        return round(total, EQUITY_DECIMALS)

    def open_positions(self) -> int:
        """Instruments that are not flat."""
        return len(self._execution.state.open_positions())

    def unknown_orders(self) -> int:
        """Orders that the venue may or may not have."""
        return len(self._execution.state.unknown_orders())

    def entries_denied(self) -> str:
        """Why no entry could pass now, as far as daemon and venues are concerned; empty when one could."""
        reasons = [] if self._execution.recorder.journal_writable else ["the journal cannot be written"]
        if (denial := self._execution.switches.denial()) is not None:
            reasons.append(f"{denial.reason}: {denial.detail}")
        router = self._execution.router
        if not any(router.is_ready(venue) for venue in self._sessions):
            reasons += [f"{venue}: {router.reason(venue) or router.state(venue)}" for venue in self._sessions]
        return "; ".join(reasons)

    def venues_not_ready(self) -> dict[VenueId, VenueState]:
        """The state of each venue that is not READY."""
        router = self._execution.router
        return {venue: router.state(venue) for venue in self._sessions if not router.is_ready(venue)}

    def on_denied(self, event: IntentDenied) -> None:
        """Remember the last refusal."""
        self._denied = event
        self._denied_ms = self._clock.at(event.intent.instrument.venue).now_ms()

    def on_journal(self, event: JournalChanged) -> None:
        """Remember since when the journal cannot be written."""
        if event.writable:
            self._unwritable_since = None
        elif self._unwritable_since is None:
            self._unwritable_since = self._clock.monotonic()

    # --- commands -------------------------------------------------------------------------------------------------

    async def handle(self, command: str, arguments: dict[str, str]) -> dict[str, Any]:
        """Carry one checked command out; raises TradingdError with what to do instead."""
        if command == "status":
            return dict(self.status())
        if command == "pause":
            return self._switch("paused", arguments.get("reason") or "paused by the operator")
        if command == "resume":
            return self._resume()
        if command == "flatten":
            return await self._flatten(arguments.get("venue"), arguments.get("symbol"))
        if command == "incidents":
            return {"incidents": [self._incident(record.incident_id) for record in self._incidents.open]}
        if command == "incidents_ack":
            record = self._incidents.acknowledge(arguments["id"])
            return {"acknowledged": record.incident_id, "kind": record.kind}
        if command == "strategies_lift":
            return self._lift(arguments["id"])
        self._stop("stopped by the operator")
        return {"stopping": True}

    def _switch(self, name: str, reason: str) -> dict[str, Any]:
        setattr(self._execution.switches, name, reason)
        self._execution.recorder.commit((FlagRecord(name, "1" if reason else "", reason, self._clock.now_ms()),))
        return {name: reason or None}

    def _resume(self) -> dict[str, Any]:
        """Lift pause and halt; a halt says what the operator takes upon himself."""
        halted = self._execution.switches.halted
        self._switch("paused", "")
        losses = self._execution.risk.losses
        if halted.startswith(DRAWDOWN) or any(losses.check_drawdown(venue) for venue in self._sessions):
            self._execution.recorder.commit(losses.lift(self._clock.now_ms()))  # or entries would be denied by it again
        if halted:
            self._switch("halted", "")
        denied = self.entries_denied() or None
        return {"paused": None, "halted": None, "was_halted": halted or None, "entries_denied": denied}

    async def _flatten(self, venue: str | None, symbol: str | None) -> dict[str, Any]:
        state = self._execution.state
        if venue is not None and venue not in self._sessions:
            raise TradingdError(f"venue {venue!r} is not enabled; allowed: {', '.join(self._sessions)}")
        known = [each for name in self._sessions for each in state.instruments_of(name)]
        chosen = [
            each
            for each in known
            if (venue is None or each.venue == venue) and (symbol is None or each.symbol == symbol)
        ]
        if not chosen:
            symbols = ", ".join(sorted({each.symbol for each in known}))
            raise TradingdError(f"symbol {symbol!r} is not traded here; allowed: {symbols}")
        self._switch("paused", "flattened by the operator")
        for instrument in chosen:
            self._execution.pipeline.flatten(instrument, "flatten by the operator")
        flat = await self._wait_flat(chosen)
        goals, router = self._execution.exits.goals, self._execution.router
        late = {each.venue for each in chosen if each in goals and not router.is_ready(each.venue)}
        return {
            "flat": flat,
            "paused": self._execution.switches.paused,
            "instruments": {str(each): self._held(each) for each in chosen},
            "waits_for": {name: router.state(name).value for name in self._sessions if name in late} or None,
        }

    def _held(self, instrument: InstrumentId) -> str:
        """A venue that was not read in this run may hold something that the journal does not know of."""
        if instrument.venue not in self._execution.state.accounts:
            return "not read yet"
        return plain_text(self._execution.state.expected_quantity(instrument))

    async def _wait_flat(self, instruments: list[InstrumentId]) -> bool:
        """Whether all became flat within the wait; past it the exits go on being tried."""
        try:
            async with asyncio.timeout(FLATTEN_WAIT_S):
                while any(each in self._execution.exits.goals for each in instruments):
                    await self._clock.sleep(0.05)
        except TimeoutError:
            return False
        return True

    def _lift(self, strategy: str) -> dict[str, Any]:
        if strategy not in self._settings.strategies:
            raise TradingdError(f"no strategy {strategy!r}; allowed: {', '.join(self._settings.strategies)}")
        if not self._host.lift_quarantine(StrategyId(strategy)):
            raise TradingdError(f"strategy {strategy!r} is not quarantined")
        self._execution.switches.quarantined.pop(StrategyId(strategy), None)
        return {"strategy": strategy, "state": "running"}

    # --- status ---------------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """How everything stands."""
        switches, clock = self._execution.switches, self._clock
        equity = self.equity_usdt()
        return Status(
            name=self._settings.daemon.name,
            mode=self._settings.mode,
            version=__version__,
            pid=pid(),
            uptime_s=round(clock.monotonic() - self._started, 3),
            now_ms=clock.now_ms(),
            speed=clock.speed,
            paused=switches.paused or None,
            halted=switches.halted or None,
            stopping=bool(switches.stopping),
            journal_writable=self._execution.recorder.journal_writable,
            journal_reason=self._execution.recorder.queue.trouble or None,
            journal_unwritable_s=self._unwritable_s(),
            entries_allowed=not self.entries_denied(),
            equity_usdt=_text(equity),
            venues=[self._venue(venue) for venue in self._sessions],
            stream_ages_s=self.stream_ages_s(),
            positions=[self._position(position) for position in self._execution.state.open_positions()],
            unknown_orders=[
                UnknownOrder(
                    client_order_id=order.client_order_id,
                    instrument=str(order.instrument),
                    status=order.status.value,
                    age_s=(clock.at(order.instrument.venue).now_ms() - order.signed_ms) / 1000,
                )
                for order in self._execution.state.unknown_orders()
            ],
            strategies=[self._strategy(name) for name in self._settings.strategies],
            denied_last=self._denied_last(),
            incidents_open=len(self._incidents.open),
        )

    def _unwritable_s(self) -> float | None:
        since = self._unwritable_since
        return None if since is None else round(self._clock.monotonic() - since, 3)

    def _venue(self, venue: VenueId) -> VenueStatus:
        state, now_s = self._execution.state, self._clock.monotonic()
        account = state.accounts.get(venue)
        balance = account.balance if account else None
        resting = {str(each): state.takes_only_exits(each, now_s) for each in state.instruments_of(venue)}
        return VenueStatus(
            venue=venue,
            state=self._execution.router.state(venue).value,
            reason=self._execution.router.reason(venue),
            equity_usdt=_text(balance.equity if balance else None),
            available_usdt=_text(balance.available if balance else None),
            exits_only={name: why for name, why in resting.items() if why},
        )

    def _position(self, position: Position) -> PositionStatus:
        instrument = position.instrument
        cover = self._execution.protection.covers.get(instrument)
        price = self._execution.state.last_price(instrument)
        return PositionStatus(
            instrument=str(instrument),
            strategy=position.strategy,
            quantity=plain_text(position.quantity),
            entry_price=_text(position.entry_price),
            unrealized_pnl_usdt=None if price is None else f"{position.unrealized_pnl(price):.4f}",
            stop_loss=_text(cover.stop_loss if cover else None),
            take_profit=_text(cover.take_profit if cover else None),
            covered=self._execution.protection.has_stop(instrument),
        )

    def _strategy(self, name: str) -> StrategyStatus:
        reason = self._host.quarantined().get(StrategyId(name))
        return StrategyStatus(
            strategy=name,
            plugin=self._settings.strategies[name].plugin,
            state="running" if reason is None else "quarantined",
            reason="" if reason is None else f"{reason}; `tradingd strategies lift {name}` lets it run again",
        )

    def _denied_last(self) -> DeniedLast | None:
        if self._denied is None:
            return None
        return DeniedLast(
            time_ms=self._denied_ms,
            strategy=self._denied.strategy,
            instrument=str(self._denied.intent.instrument),
            reason=self._denied.denial.reason.value,
            detail=self._denied.denial.detail,
        )

    def _incident(self, incident_id: str) -> IncidentStatus:
        record = next(each for each in self._incidents.open if each.incident_id == incident_id)
        return IncidentStatus(
            incident_id=record.incident_id,
            kind=record.kind,
            severity=record.severity.value,
            detail=record.detail,
            venue=record.venue,
            instrument=None if record.instrument is None else str(record.instrument),
            strategy=record.strategy,
            raised_ms=record.raised_ms,
            acknowledged_ms=record.acknowledged_ms,
        )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain_text(value)
