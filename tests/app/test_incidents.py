"""Incidents: written down, counted when they repeat, open until acknowledged."""

import shutil

import msgspec
import pytest

from tests.execution.fakes import BINANCE, BTC, ETH, START_MS, VirtualClock
from tests.execution.virtual_time import in_virtual_time
from tradingd.app.incidents import SAME_WITHIN_MS, Incidents
from tradingd.domain.errors import Severity, TradingdError
from tradingd.domain.events import IncidentRaised
from tradingd.domain.ids import Epoch, VenueId
from tradingd.journal.opening import open_inline
from tradingd.simulation.clock import SimHostClock
from tradingd.simulation.loop import Timeline

STALE = IncidentRaised("stop_not_placed", Severity.CRITICAL, "try 1", BINANCE, BTC)


@pytest.fixture
def journal(tmp_path, empty_journal):
    path = tmp_path / "journal.db"
    shutil.copy(empty_journal, path)
    store = open_inline(path, mode="sim", now_ms=START_MS)
    yield store
    store.close_now()


@in_virtual_time
async def test_what_repeats_is_one_incident_with_a_count_written_at_powers_of_two(journal):
    incidents = Incidents(journal, VirtualClock(), Epoch("e1"), ())
    for number in range(1, 11):
        incidents.on_incident(msgspec.structs.replace(STALE, detail=f"try {number}"))
    (record,) = incidents.open
    assert record.detail == "try 8 (8 times)"
    (stored,) = (await journal.recover(START_MS)).incidents
    assert stored == record


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "emergency_close"},
        {"instrument": ETH},
        {"venue": None, "instrument": None},
        {"strategy": "trend"},
    ],
)
@in_virtual_time
async def test_what_differs_in_kind_or_place_is_another_incident(journal, other):
    incidents = Incidents(journal, VirtualClock(), Epoch("e1"), ())
    incidents.on_incident(STALE)
    incidents.on_incident(msgspec.structs.replace(STALE, **other))
    assert len(incidents.open) == 2


@in_virtual_time
async def test_the_same_after_a_long_quiet_or_an_acknowledgement_is_a_new_one(journal):
    clock = VirtualClock()
    incidents = Incidents(journal, clock, Epoch("e1"), ())
    incidents.on_incident(STALE)
    clock.step_ms += SAME_WITHIN_MS
    incidents.on_incident(STALE)
    assert [record.incident_id for record in incidents.open] == ["e1-2", "e1-1"]
    assert incidents.acknowledge("e1-2").acknowledged_ms == clock.now_ms()
    incidents.on_incident(STALE)
    assert sorted(record.incident_id for record in incidents.open) == ["e1-1", "e1-3"]


@in_virtual_time
async def test_open_incidents_outlive_a_restart_and_can_be_acknowledged_there(journal):
    Incidents(journal, VirtualClock(), Epoch("e1"), ()).on_incident(STALE)
    recovered = (await journal.recover(START_MS)).incidents
    incidents = Incidents(journal, VirtualClock(), Epoch("e2"), recovered)
    incidents.on_incident(msgspec.structs.replace(STALE, kind="other"))
    assert {record.incident_id for record in incidents.open} == {"e1-1", "e2-1"}
    incidents.acknowledge("e1-1")
    assert [record.incident_id for record in (await journal.recover(START_MS)).incidents] == ["e2-1"]


@pytest.mark.parametrize("incident_id", ["", "e1-9", "e1-1"])
@in_virtual_time
async def test_acknowledging_what_is_not_open_is_refused_with_what_is(journal, incident_id):
    incidents = Incidents(journal, VirtualClock(), Epoch("e1"), ())
    incidents.on_incident(STALE)
    incidents.on_incident(msgspec.structs.replace(STALE, kind="other"))
    incidents.acknowledge("e1-1")
    with pytest.raises(TradingdError, match="open: e1-2"):
        incidents.acknowledge(incident_id)


@in_virtual_time
async def test_what_one_venue_raises_is_dated_by_its_own_clock(journal):
    clock = SimHostClock(Timeline())
    clock.at(BINANCE).synchronise(START_MS, clock.monotonic())
    clock.at(VenueId("bybit")).synchronise(START_MS - 86_400_000, clock.monotonic())
    incidents = Incidents(journal, clock, Epoch("e1"), ())
    incidents.on_incident(msgspec.structs.replace(STALE, venue=VenueId("bybit"), instrument=None))
    incidents.on_incident(msgspec.structs.replace(STALE, venue=None, instrument=None))
    assert [each.raised_ms for each in incidents.open] == [START_MS, START_MS - 86_400_000]
