"""Text from outside (a plugin, an operator, a venue) made fit for disk and screen, where it comes in; and moments made
fit for people.
"""

from datetime import UTC, datetime

MAX_CHARACTERS = 500
"""So much of a reason or a tag is kept; what is longer explains nothing more."""


def storable(text: str, most: int = MAX_CHARACTERS) -> str:
    """`text` as any file, table and socket takes it, at most `most` characters.

    Half a surrogate pair is legal in a str and in no UTF-8, and SQL's functions stop at a NUL: both become escapes.
    """
    short = text[:most]
    if short.isascii() and "\0" not in short:
        return short
    return short.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")[:most]


def moment(time_ms: int) -> str:
    """A time in ms UTC as a person reads it, to the second."""
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
