"""The language of fault scripts: what it reads, prints and refuses."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.emulator.fault_scripts import scripts
from tradingd.config.problems import ConfigError, Position, Problem
from tradingd.config.resources import fault_scripts
from tradingd.emulator.faults.language import KINDS, Rule, Script
from tradingd.emulator.faults.printing import print_script
from tradingd.emulator.faults.reading import find_script, parse_script, read_script


def refused(text: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse_script(text, "day.toml")
    return list(caught.value.problems)


def one_rule(text: str) -> str:
    return f"[[rule]]\n{text}\n"


@settings(max_examples=400, deadline=None)
@given(scripts())
def test_any_script_reads_as_itself_after_it_was_printed(script: Script) -> None:
    assert parse_script(print_script(script)) == script


def test_every_problem_of_a_file_is_told_at_once_with_its_line_what_is_allowed_and_the_nearest_name() -> None:
    problems = refused(
        'seed = -1\n[[rule]]\ndo = "lose_repl"\n[[rule]]\ndo = "mute"\nstream = "acount"\n'
        '[[rule]]\ndo = "read_lag"\non = ["balance", "positons"]\nlag_ms = 0\nat_byte = 3\n'
    )
    places = [(each.place.line, each.nearest) for each in problems if isinstance(each.place, Position)]
    assert places == [(1, None), (3, "lose_reply"), (4, None), (6, "account"), (9, "positions"), (10, None), (11, None)]
    text = "\n".join(map(str, problems))
    assert "day.toml:3:6: do = 'lose_repl' is no fault" in text
    assert "mute needs the key 'for_s'" in text and "whole milliseconds from 1 to 60000" in text
    assert "read_lag takes no key 'at_byte'" in text
    assert all(problem.allowed for problem in problems)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('do = "mute"\nfor_s = 1\nnth = 2', "nth needs something to match"),
        ('do = "lose_reply"\nnth = 2\nevery = 3', "nth is one match, every is many"),
        ('do = "mute"\nfor_s = 1\non = "create"\nevery_s = 5', "every_s is of rules that the clock sets off"),
        ('do = "lose_reply"\nafter_s = 5\nbefore_s = 5', "before_s is not later than after_s = 5"),
        ('do = "lose_reply"\nsince = 2026-11-22T10:00:00Z\nuntil = 2026-11-22T10:00:00Z', "until is not after since"),
        ('do = "lose_reply"\nsince = 2026-11-22T10:00:00', "since is 2026-11-22 10:00:00"),
        ('do = "read_lag"\non = "create"\nlag_ms = 5', "read_lag cannot befall 'create'"),
        ('do = "end_order"\non = "cancel"', "end_order cannot befall 'cancel'"),
        ('do = "answer"', "an answer needs a reply or a status"),
        ('do = "answer"\nreply = "waf"\nstatus = 500', "the reply 'waf' has its own status"),
        ('do = "human"\nact = "open"\nsymbol = "BTCUSDT"', "a human who opens needs the key 'quantity'"),
        ('do = "change_filters"\nsymbol = "BTCUSDT"', "change_filters changes nothing"),
        ('do = "mute"\nfor_s = 1\non = "create"\npush = "fill"', "a rule waits for requests or for pushes"),
        ('do = "lose_reply"\non = []', "on is empty"),
        ('do = "lose_reply"\nchance = 1.5', "chance is 1.5"),
        ('do = "lose_reply"\nchance = nan', "chance is NaN"),
        ('do = "lose_reply"\nchance = true', "chance is true"),
        ('do = "ban"\nfor_s = 1\nname = "a"\n[[rule]]\ndo = "lose_reply"\nname = "a"', "there is a rule 'a' already"),
        ("chance = 0.5", "the rule does not say what it does"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(text: str, why: str) -> None:
    (problem,) = refused(one_rule(text))
    assert problem.message == why or problem.message.startswith(why)


@pytest.mark.parametrize(
    "text",
    ["rule = 3", "[rule]\ndo = 'mute'", "[[rules]]\ndo = 'mute'", "seed = 'a'", "[[rule", "rule = [1]", "seed = true"],
)
def test_what_is_no_script_is_refused(text: str) -> None:
    assert refused(text)


def test_requests_are_any_and_reads_are_those_that_can_lag_where_a_rule_names_none() -> None:
    script = parse_script(
        one_rule('do = "lose_reply"')
        + one_rule('do = "read_lag"\nlag_ms = 5')
        + one_rule('do = "lose_push"')
        + one_rule('do = "mute"\nfor_s = 1.5')
    )
    lost, lag, push, mute = script.rules
    assert lost.on == ("any",) and not lost.is_timed
    assert lag.on == ("look_up", "positions", "balance", "open_orders", "history")
    assert push.push == ("any",)
    assert mute.is_timed and mute.seconds("for_s") == 1.5 and mute.stream == "any"
    assert Rule(do="half_open").get("for_s") == Decimal(600)


def test_shipped_scripts_are_found_by_name_and_are_sound() -> None:
    assert {"ban", "bad_day", "lagging_account", "lost_replies", "muted_streams"} <= set(fault_scripts())
    for name, path in fault_scripts().items():
        script = read_script(Path(name))
        assert script.rules and find_script(Path(name)) == path
        assert len({rule.name for rule in script.rules}) == len(script.rules), "the log tells rules by their names"


def test_a_script_that_is_not_there_is_refused_with_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)there is no such fault script.*nearest: bad_day"):
        read_script(Path("badday"))
    with pytest.raises(ConfigError, match="cannot be read: no such file"):
        read_script(tmp_path / "none.toml")


def test_every_fault_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    assert [kind for kind in KINDS if f"| `{kind}` |" not in page] == []
