"""Processes of another user, or of this one where only root could become another."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

READER, STRANGER, GROUP = 12345, 12346, 4242
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")

_CHILD = """
import os, sqlite3, sys, urllib.parse  # Python 3.13 imports the last within Path.as_uri
from pathlib import Path
from tradingd.journal.{module} import *
path, user, group = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if os.geteuid() == 0:  # after the imports: the other user need not be able to read this installation
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
try:
    answer = str({expression})
except Exception as error:
    answer = f"{{type(error).__name__}}: {{error}}"
print(answer)
"""

ROWS = "open_reader(path).query('SELECT trade_id FROM v_fills').rows"
PLAIN_ROWS = "sqlite3.connect(f'file:{path}?mode=ro', uri=True).execute('SELECT trade_id FROM v_fills').fetchall()"
DELETED = "sqlite3.connect(path).execute('DELETE FROM fills').rowcount"
IN_TRANSACTION = """
[connection := sqlite3.connect(f'file:{path}?mode=ro', uri=True, isolation_level=None), connection.execute('BEGIN'),
 connection.execute('SELECT count(*) FROM fills').fetchone()[0], print('reading', flush=True), sys.stdin.readline(),
 connection.execute('SELECT count(*) FROM fills').fetchone()[0]][2::3]
"""


def start_as(user: int, group: int, path: Path, expression: str, module: str = "reading") -> "subprocess.Popen[str]":
    """A process that evaluates `expression` over the journal at `path` as that user, when we are root; else as us."""
    script = _CHILD.format(module=module, expression=expression.strip())
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(user), str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said_by(user: int, group: int, path: Path, expression: str, module: str = "reading") -> str:
    """What that process answers: the value, or the error that was raised."""
    answer, _ = start_as(user, group, path, expression, module).communicate(timeout=30)
    return answer.strip()


def give_to_reader(path: Path, file_mode: int, directory_mode: int) -> None:
    """Make the files READER's own (root can; else they are ours already), with these modes."""
    for file in path.parent.iterdir():
        file.chmod(file_mode)
        if IS_ROOT:
            os.chown(file, READER, READER)
    if IS_ROOT:
        os.chown(path.parent, READER, READER)
    path.parent.chmod(directory_mode)
