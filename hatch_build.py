"""Build hook: puts what a checkout keeps beside the package into the wheel, under tradingd/_share.

A plain `force-include` would also copy it on an editable install, where the checkout itself must stay the one truth.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHARED = ("config.toml", "strategies", "migrations", "systemd", "faults")


class SharedFiles(BuildHookInterface[Any]):
    """Ships SHARED in the wheel; a missing one fails the build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        for name in SHARED:
            source = Path(self.root, name)
            if not source.exists():
                raise FileNotFoundError(f"{source} belongs into the wheel and is missing")
            build_data["force_include"][str(source)] = f"tradingd/_share/{name}"
