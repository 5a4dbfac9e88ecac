"""Secrets leave in no form."""

import base64
import json
import re
from urllib.parse import quote, quote_plus, urlencode

import pytest

from tradingd.telemetry.scrub import MASK, MAX_PASSING, Scrubber

PLAIN = "Kz7qT9vWm2Xc4Yb8Nd1Ef6Gh3Jl5Pr0S"
AWKWARD = "pä\"ss'w\\o/rd+ &=%\n€"


def every_form(secret: str) -> dict[str, str]:
    """Independent of the scrubber: how a secret appears where people really meet it."""
    data = secret.encode()
    forms = {
        "raw": secret,
        "in a query": urlencode({"key": secret}),
        "url-encoded": quote(secret, safe=""),
        "url-encoded, lower case": re.sub("%..", lambda match: match[0].lower(), quote(secret, safe="")),
        "url-encoded twice": quote(quote(secret, safe=""), safe=""),
        "in a form": quote_plus(secret),
        "hex": data.hex(),
        "HEX": data.hex().upper(),
        "json": json.dumps({"a": secret}),
        "json in unicode": json.dumps({"a": secret}, ensure_ascii=False),
        "json in json": json.dumps(json.dumps({"a": secret})),
        "repr": repr({"a": secret}),
        "repr in json": json.dumps(repr(secret)),
        "ascii": ascii(secret),
    }
    for before in range(6):
        for after in range(4):
            whole = b"u" * before + data + b"v" * after
            forms[f"base64 at {before}, {after}"] = base64.b64encode(whole).decode()
            forms[f"base64url at {before}, {after}"] = base64.urlsafe_b64encode(whole).decode()
    return forms


def visible_part(form: str, secret: str) -> list[str]:
    """Pieces of the encoded secret that must not be left: every run of 8 characters of its middle."""
    middle = form[len(form) // 3 : len(form) * 2 // 3]
    return [middle[i : i + 8] for i in range(max(1, len(middle) - 8))]


@pytest.mark.parametrize("secret", [PLAIN, AWKWARD], ids=["plain", "awkward"])
def test_a_secret_is_gone_in_every_form_in_which_it_can_travel(secret: str) -> None:
    scrubber = Scrubber()
    scrubber.register(secret)
    for name, form in every_form(secret).items():
        out = scrubber.scrub(f"before {form} after")
        assert MASK in out, name
        for piece in visible_part(form, secret):
            assert piece not in out, f"{name}: {piece!r} is left in {out!r}"


def test_what_is_no_secret_is_left_alone() -> None:
    scrubber = Scrubber()
    scrubber.register(PLAIN)
    text = "order_accepted binance BTC/USDT:USDT@binance client_order_id=td-mfx8k2ab-12e price=64000.1"
    assert scrubber.scrub(text) == text


def test_signatures_and_listen_keys_are_taken_out_by_name() -> None:
    scrubber = Scrubber()
    for text in (
        "GET /fapi/v1/order?symbol=BTCUSDT&signature=ab12cd34ef56ab12cd34",
        '{"listenKey": "ab12cd34ef56ab12cd34"}',
        "{'X-MBX-APIKEY': 'ab12cd34ef56ab12cd34'}",
        '"{\\"listenKey\\":\\"ab12cd34ef56ab12cd34\\"}"',
    ):
        assert "ab12cd34" not in scrubber.scrub(text), text


def test_half_a_secret_before_a_cut_is_taken_out_too() -> None:
    scrubber = Scrubber()
    scrubber.register(PLAIN)
    assert PLAIN[:12] not in scrubber.scrub(f"a long value {PLAIN[:20]}… and more")


def test_a_secret_that_is_too_short_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="less than 4 characters") as caught:
        Scrubber().register("abz")
    assert "abz" not in str(caught.value)


def test_passing_secrets_are_bounded_and_lasting_ones_stay() -> None:
    scrubber = Scrubber()
    scrubber.register(PLAIN)
    for number in range(MAX_PASSING + 1):
        scrubber.register(f"listen-key-{number:04}", passing=True)
    assert scrubber.scrub("listen-key-0000") == "listen-key-0000"
    assert scrubber.scrub("listen-key-0001") == MASK
    assert scrubber.scrub(PLAIN) == MASK
    assert PLAIN not in repr(scrubber) and PLAIN not in str(vars(Scrubber))
