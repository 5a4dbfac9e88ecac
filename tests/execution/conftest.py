"""A journal that was migrated once, copied for each test."""

import shutil
from pathlib import Path

import pytest

from tests.execution.fakes import START_MS
from tests.execution.world import World
from tradingd.journal.opening import open_inline


@pytest.fixture(scope="session")
def empty_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    open_inline(path, mode="sim", now_ms=START_MS).close_now()
    return path


@pytest.fixture
def make_world(request, tmp_path, empty_journal):
    """Makes a world on a fresh journal; call it inside the loop. With `both_acks`: on either kind of venue."""
    acks_first = getattr(request, "param", False)

    def make(**options) -> World:
        shutil.copy(empty_journal, tmp_path / "journal.db")
        made.append(World(tmp_path, **{"acks_first": acks_first, **options}))
        return made[-1]

    made: list[World] = []
    yield make
    for world in made:
        world.close_reader()


@pytest.fixture
def make_levels(make_world):
    """A world whose venue keeps levels with the position; call it inside the loop."""

    def make(**options):
        world = make_world(**options)
        world.levels = world.venue.keep_levels()
        return world

    return make
