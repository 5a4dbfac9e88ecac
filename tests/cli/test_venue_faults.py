"""`tradingd venue --faults` as a person meets it: lines, refusals, exit statuses; and the page that tells of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tradingd.emulator.faults.reading import parse_script

PAGE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
VENUE = (sys.executable, "-m", "tradingd", "venue", "binance", "--port", "0", "--faults")


def test_a_script_with_mistakes_ends_with_78_and_names_them_all(tmp_path: Path) -> None:
    script = tmp_path / "day.toml"
    script.write_text('[[rule]]\ndo = "lose_repl"\n[[rule]]\ndo = "mute"\nfor_s = 0\n')
    done = subprocess.run([*VENUE, str(script)], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (78, "")
    assert f"{script}:2:6: do = 'lose_repl' is no fault" in done.stderr and "nearest: lose_reply" in done.stderr
    assert f"{script}:5:9: for_s is 0" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "said"), [("bad_dya", "nearest: bad_day"), ("none.toml", "cannot be read: no such file")]
)
def test_a_script_that_is_not_there_ends_with_78(given: str, said: str, tmp_path: Path) -> None:
    done = subprocess.run([*VENUE, given], capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path)
    assert done.returncode == 78 and said in done.stderr and "lagging_account" in done.stderr


def test_every_fault_that_is_played_is_a_line_and_is_kept(tmp_path: Path) -> None:
    script = tmp_path / "day.toml"
    script.write_text('[[rule]]\nname = "odd"\ndo = "answer"\nreply = "waf"\non = "time"\nevery = 2\n')
    with subprocess.Popen([*VENUE, str(script)], stdout=subprocess.PIPE, text=True) as venue:
        assert venue.stdout is not None
        try:
            address = venue.stdout.readline().split()[-1]
            statuses = [_status(f"{address}/fapi/v1/time") for _ in range(4)]
            lines = [venue.stdout.readline() for _ in range(2)]
            with urllib.request.urlopen(f"{address}/_venue/faults", timeout=5) as answer:
                kept = json.load(answer)["played"]
        finally:
            venue.terminate()
    assert statuses == [200, 403, 200, 403]
    assert all(
        re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z fault: answered with an error GET /fapi/v1/time, "
            r"reply waf \(rule 1, odd\)\n",
            line,
        )
        for line in lines
    ), lines
    assert [each["number"] for each in kept] == [1, 2] and kept[0]["name"] == "odd"


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_examples_of_the_page_are_sound() -> None:
    examples = [text for text in re.findall(r"^```toml\n(.*?)^```", PAGE, re.M | re.S) if "[[rule]]" in text]
    assert len(examples) >= 4
    for text in examples:
        assert parse_script(text).rules


def test_the_commands_of_the_page_start_a_venue(tmp_path: Path) -> None:
    commands = [line.split()[1:] for line in PAGE.splitlines() if line.startswith("tradingd venue")]
    assert len(commands) == 2
    (tmp_path / "my_faults.toml").write_text("".join(re.findall(r"^```toml\n(seed.*?)^```", PAGE, re.M | re.S)))
    for words in commands:
        words[words.index("--port") + 1] = "0"
        with subprocess.Popen(
            [sys.executable, "-m", "tradingd", *words], stdout=subprocess.PIPE, text=True, cwd=tmp_path
        ) as venue:
            assert venue.stdout is not None
            try:
                assert venue.stdout.readline().startswith("listening on http://127.0.0.1:")
            finally:
                venue.terminate()
        assert venue.returncode == 0
