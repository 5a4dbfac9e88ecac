"""The key locator against tomllib: the same keys, and at every place the very value that tomllib read there."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradingd.config.locate import Path, locate
from tradingd.config.problems import Position

_words = st.text("abcXYZ019_-", min_size=1, max_size=4)
_texts = st.text(st.sampled_from("ab .#[]{}=,'\"\\\n\té☃\u007f"), max_size=8)
_gaps = st.sampled_from(["", " ", "\t", "  "])
_fillers = st.sampled_from(["", " ", "\n", "\n\n ", " # ] } , = '\n", "#\n\t"])


def _basic(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _single_line(text: str) -> str:
    return "".join(character for character in text if character not in "'\n\x7f")


_keys = st.one_of(_words, _texts.map(_basic), _texts.map(lambda text: f"'{_single_line(text)}'"))
_dotted = st.lists(st.tuples(_gaps, _keys, _gaps).map("".join), min_size=1, max_size=3).map(".".join)
_scalars = st.one_of(
    st.sampled_from(["0", "-17", "+1_000", "0xFf", "0o17", "0b1", "true", "false"]),
    st.sampled_from(["1.5", "-1e-3", "6.02E+23", "inf", "-nan"]),
    st.sampled_from(["1979-05-27", "07:32:00.5", "1979-05-27 07:32:00Z", "1979-05-27T00:32:00-07:00"]),
    _texts.map(_basic),
    _texts.map(lambda text: f"'{_single_line(text)}'"),
    _texts.map(lambda text: f'"""{_basic(text)[1:-1]}"""'),
    _texts.map(lambda text: '"""\n' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\x7f", "") + '\\\n  """'),
    _texts.map(lambda text: "'''" + text.replace("'", "").replace("\x7f", "") + "'''"),
    st.sampled_from(['"""a""b"c"""""', "'''it''s'''''", '""""quoted""""', '""', "''", '""""""', "''''''"]),
)


def _array(items: list[str], fillers: list[str], trailing: bool) -> str:
    inside = ",".join(f"{fillers[0]}{item}{fillers[1]}" for item in items)
    return f"[{inside}{',' if trailing and items else ''}{fillers[2]}]"


def _inline(pairs: list[tuple[str, str]], gap: str) -> str:
    return "{" + ",".join(f"{gap}{key}{gap}={gap}{value}{gap}" for key, value in pairs) + "}"


_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.builds(_array, st.lists(inner, max_size=3), st.lists(_fillers, min_size=3, max_size=3), st.booleans()),
        st.builds(_inline, st.lists(st.tuples(_dotted, inner), max_size=3), _gaps),
    ),
    max_leaves=5,
)
_statements = st.one_of(
    st.builds("{}{}{}={}{}{}\n".format, _gaps, _dotted, _gaps, _gaps, _values, st.sampled_from(["", " # = [x]"])),
    st.builds("{}[{}]{}\n".format, _gaps, _dotted, st.sampled_from(["", "  # header"])),
    st.builds("[[{}]]\n".format, _dotted),
    st.sampled_from(["\n", "# [comment] = 1\n", "[[a]]\n", "[a.b]\n", "[[a.c]]\n", "[a]\n", "b.c = 1\n"]),
)


def _loads(text: str) -> dict[str, Any]:
    return tomllib.loads(text, parse_float=str)


def _accepted(statements: list[str]) -> str:
    """The statements that tomllib takes one after the other; what repeats a key is left out."""
    text = ""
    for statement in statements:
        try:
            _loads(text + statement)
        except tomllib.TOMLDecodeError:
            continue
        text += statement
    return text


def _leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    if isinstance(value, dict):
        return {found: leaf for key, item in value.items() for found, leaf in _leaves(item, (*path, key)).items()}
    if isinstance(value, list):
        return {
            found: leaf for index, item in enumerate(value) for found, leaf in _leaves(item, (*path, index)).items()
        }
    return {path: value}


@settings(max_examples=400, deadline=None)
@given(st.lists(_statements, max_size=12))
def test_every_value_is_located_where_tomllib_reads_it(statements: list[str]):
    text = _accepted(statements)
    document = _loads(text)
    found = locate(text)
    leaves = _leaves(document)
    assert leaves.keys() <= found.values.keys()
    for path, span in found.values.items():
        value: Any = document
        for part in path:
            value = value[part]
        assert _loads(f"value = {text[span.start : span.end]}") == {"value": value}
    for path, span in found.keys.items():
        if isinstance(path[-1], str):
            assert list(_loads(f"{text[span.start : span.end]} = 1")) == [path[-1]]
    for path in leaves:
        assert all(path[:depth] in found.keys or isinstance(path[depth - 1], int) for depth in range(1, len(path) + 1))


@pytest.mark.parametrize(
    ("text", "path", "line", "column", "length"),
    [
        ("[risk]\n\tmax = 5 # five\n", ("risk", "max"), 2, 8, 1),
        ("a.'b c'.\"d\" = [ 1,\n  # ]\n  22 ]", ("a", "b c", "d", 1), 3, 3, 2),
        ("[[x]]\n[[x]]\ny = { z = true }", ("x", 1, "y", "z"), 3, 11, 4),
        ("s = '''\nfirst\nsecond'''\nt = 1", ("t",), 4, 5, 1),
        ("s = '''\nfirst\nsecond'''\nt = 1", ("s",), 1, 5, 3),
    ],
)
def test_a_position_counts_lines_and_columns_from_one(text, path, line, column, length):
    position = Position.of("f", text, locate(text).values[path])
    assert (position.line, position.column, position.length) == (line, column, length)
