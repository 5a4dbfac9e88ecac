"""The journal's file is moved or deleted while the daemon trades: entries stop, protection and exits go on."""

import asyncio
import io
import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.execution.fakes import BTC
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import both_acks
from tradingd.app.incidents import Incidents
from tradingd.app.operator import Operator
from tradingd.cli import status_text
from tradingd.cli.streams import Paint
from tradingd.domain.events import IncidentRaised, JournalChanged
from tradingd.domain.ids import ClientOrderId, Epoch, Purpose

pytestmark = both_acks


def details(world, kind):
    return [each.detail for each in world.events if isinstance(each, IncidentRaised) and each.kind == kind]


@in_virtual_time
async def test_a_look_at_a_journal_that_is_gone_stops_entries_and_says_what_to_do(make_world):
    world = await make_world().boot()
    away = Path(f"{world.path}.away")
    os.rename(world.path, away)
    world.execution.recorder.queue.look()
    await asyncio.sleep(0)
    assert not world.execution.recorder.journal_writable
    (told,) = details(world, "journal_not_writable")
    assert told.startswith(f"journal file was moved or deleted: {world.path} is gone. Move the same file back")
    world.enter()
    await asyncio.sleep(1)
    assert world.venue.submitted == []
    os.rename(away, world.path)
    await world.until(lambda: world.execution.recorder.journal_writable)
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@in_virtual_time
async def test_a_position_is_protected_and_closed_without_the_journals_file(make_world):
    world = await make_world().boot()
    world.venue.on_submit = lambda request: world.path.unlink(missing_ok=True)
    world.enter()
    await world.until(lambda: world.is_covered())
    world.execution.pipeline.exit(BTC, "operator", None)
    await world.until(lambda: world.venue.positions[BTC] == 0)
    assert [request.purpose for request in world.venue.submitted] == [Purpose.ENTRY, Purpose.STOP, Purpose.EXIT]
    assert len(world.spool.lines()) == 2


@in_virtual_time
async def test_status_says_first_that_the_journal_cannot_be_written_and_the_incident_that_it_is_over(make_world):
    world = await make_world().boot()
    host: Any = SimpleNamespace(quarantined=dict)
    incidents = Incidents(world.execution.recorder, world.clock, Epoch("e1"), ())
    operator = Operator(world.settings, world.execution, {}, host, incidents, world.clock, lambda why: None)
    world.bus.subscribe(JournalChanged, incidents.on_journal)
    world.bus.subscribe(JournalChanged, operator.on_journal)
    world.bus.subscribe(IncidentRaised, incidents.on_incident)
    status = operator.status()
    assert (status["journal_writable"], status["journal_reason"], status["journal_unwritable_s"]) == (True, None, None)

    world.store.broken = True
    world.execution.recorder.queue.look()
    await asyncio.sleep(12)
    status = operator.status()
    assert (status["journal_writable"], status["journal_reason"]) == (False, "database or disk is full")
    lines = status_text.status(status, Paint(io.StringIO(), {})).splitlines()
    assert lines[1] == "journal         NOT WRITABLE for 12 s: database or disk is full"
    assert lines[2] == "entries         denied: the journal cannot be written; exits and protection go on"

    world.store.broken = False
    await world.until(lambda: world.execution.recorder.journal_writable)
    assert operator.status()["journal_unwritable_s"] is None
    (record,) = incidents.open
    assert record.detail.startswith("database or disk is full; over: the journal is whole again, ")
    await asyncio.sleep(0.1)
    stored = sqlite3.connect(world.path).execute("SELECT detail FROM incidents").fetchall()
    assert stored == [(record.detail,)]


@pytest.mark.fault(82)
@in_virtual_time
async def test_our_orders_found_with_a_new_journal_say_to_restore_the_old_one(make_world):
    world = make_world()
    world.venue.foreign_order(BTC, client_order_id=ClientOrderId("td-00000000abc-1s"))
    await world.boot()
    told, *_ = details(world, "order_unknown_to_journal")
    assert "td-00000000abc-1s is at the venue and not in the journal: the journal is new" in told
    assert f"stop tradingd, restore {world.settings.journal_path} with what stands beside it, and start again" in told
    assert "cancel the order at the venue, then `tradingd resume`" in told
    assert "second daemon" not in told
    assert world.execution.switches.halted


@pytest.mark.fault(85)
@in_virtual_time
async def test_with_a_new_journal_too_an_order_from_a_later_start_is_a_second_daemons(make_world):
    """Two daemons begun on new journals had each been told to restore a lost one."""
    world = make_world()
    world.venue.foreign_order(BTC, client_order_id=ClientOrderId("td-zzzzzzzzabc-1s"))
    await world.boot()
    told, *_ = details(world, "foreign_epoch")
    assert told.endswith("a second daemon trades this account: stop one of the two, then `tradingd resume`")
    assert world.execution.switches.halted
