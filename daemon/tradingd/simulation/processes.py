"""Runs in processes of their own, each used for a few worlds only: dead daemons are never collected."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
WORLDS_PER_PROCESS = 8
_MEMORY = Path("/dev/shm")


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for one world, in memory where there is such a place: a world syncs hundreds of times a second."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as directory:
        yield Path(directory)


def each_apart(run: Callable[[T], R], work: Iterable[T], workers: int) -> Iterator[R]:
    """The results in the order of the work, as they come."""
    if workers <= 1:
        yield from map(run, work)
        return
    with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=WORLDS_PER_PROCESS) as pool:
        yield from pool.imap(run, work)
