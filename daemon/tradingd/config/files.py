"""Files that a built-in venue is to be given: looked for at the start, which ends a typo at once.

The venue itself would never come up, while another one trades on.
"""

from pathlib import Path

from tradingd.config.problems import nearest
from tradingd.config.resources import fault_scripts, find_fault_script
from tradingd.config.settings import Settings
from tradingd.config.source import Problems

_CANDLES = "the path of a CSV file with one-minute candles"


def check_files(settings: Settings) -> Problems:
    """What is not there of the files that mode sim hands to its venues; what stands in them, the venues check."""
    problems = settings.problems()
    for name, venue in settings.enabled_venues.items():
        if settings.mode != "sim" or venue.endpoint is not None:
            continue
        if venue.candles is not None and not venue.candles.exists():
            problems.at(("venues", name, "candles"), f"there is no file {venue.candles}", allowed=_CANDLES)
        if venue.faults is not None:
            _check_script(venue.faults, name, problems)
    return problems


def _check_script(given: Path, venue: str, problems: Problems) -> None:
    if find_fault_script(given) is not None:
        return
    scripts = fault_scripts()
    allowed = f"the path of a TOML file, or a shipped script: {', '.join(scripts)}"
    near = nearest(given.name, scripts)
    problems.at(("venues", venue, "faults"), f"there is no such fault script: {given}", allowed=allowed, nearest=near)
