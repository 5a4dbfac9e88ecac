"""The shipped unit: it parses, and it says what the daemon relies on."""

import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from tradingd.cli import exit_codes
from tradingd.config.resources import systemd_path

UNIT = systemd_path() / "tradingd.service"


def parse(text: str) -> dict[str, dict[str, list[str]]]:
    """A unit file: sections, each key with all its values in order; anything else is an error."""
    sections: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] | None = None
    for line in text.splitlines():
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if header := re.fullmatch(r"\[([A-Za-z]+)\]", line):
            current = sections.setdefault(header[1], defaultdict(list))
            continue
        key, mark, value = line.partition("=")
        assert mark and re.fullmatch(r"[A-Z][A-Za-z]*", key) and current is not None, line
        current[key].append(value)
    return sections


@pytest.fixture(scope="module")
def service() -> dict[str, list[str]]:
    sections = parse(UNIT.read_text("utf-8"))
    assert set(sections) == {"Unit", "Service", "Install"}
    return sections["Service"]


def test_it_is_started_stopped_and_restarted_as_the_daemon_expects(service) -> None:
    assert service["Type"] == ["notify"]
    assert service["ExecStart"][0].split()[1:3] == ["run", "--config"]
    assert service["Restart"] == ["on-failure"]
    assert service["RestartPreventExitStatus"] == [f"{exit_codes.CONFIG} 64 {exit_codes.USAGE}"]
    assert service["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert service["TimeoutStopSec"] == ["15"], "an orderly stop takes up to 10 s"
    assert int(service["WatchdogSec"][0]) > 0


def test_it_runs_as_a_user_whose_group_may_read_the_journal(service) -> None:
    assert service["User"] == service["Group"] == ["tradingd"] and "DynamicUser" not in service
    assert service["StateDirectory"] == ["tradingd"] and service["StateDirectoryMode"] == ["0750"]
    assert service["UMask"] == ["0027"]
    assert "TRADINGD__DAEMON__STATE_DIR=/var/lib/tradingd" in service["Environment"]


def test_keys_come_as_credentials_that_are_not_filled_in_yet(service) -> None:
    assert "LoadCredential" not in service
    text = UNIT.read_text("utf-8")
    for name in ("binance_api_key", "binance_api_secret", "bybit_api_key", "bitget_api_password", "mqtt_password"):
        assert f"#LoadCredential={name}:" in text


@pytest.mark.parametrize(
    "setting",
    [
        "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "PrivateDevices=yes",
        "PrivateUsers=yes", "ProtectKernelModules=yes", "ProtectKernelLogs=yes", "ProtectKernelTunables=yes",
        "ProtectControlGroups=yes", "ProtectClock=yes", "ProtectHostname=yes", "ProtectProc=invisible",
        "ProcSubset=pid", "RestrictNamespaces=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes",
        "LockPersonality=yes", "MemoryDenyWriteExecute=yes", "RemoveIPC=yes", "LimitCORE=0", "CapabilityBoundingSet=",
        "AmbientCapabilities=", "SystemCallFilter=@system-service",
    ],
)  # fmt: skip
def test_it_is_locked_in(service, setting: str) -> None:
    key, _, value = setting.partition("=")
    assert value in service[key]


def test_the_state_is_not_refused_by_the_config() -> None:
    """The variable that the unit sets is a key that exists."""
    from tradingd.config import load_settings

    settings = load_settings(None, {"TRADINGD__DAEMON__STATE_DIR": "/var/lib/tradingd"})
    assert settings.daemon.state_dir == Path("/var/lib/tradingd")


def test_the_user_is_made_by_systemd_with_a_group_of_its_name(service) -> None:
    lines = (systemd_path() / "tradingd.sysusers.conf").read_text("utf-8").splitlines()
    (user,) = [shlex.split(line) for line in lines if line and not line.startswith("#")]
    assert user[:3] == ["u", service["User"][0], "-"] and user[4] == f"/var/lib/{service['StateDirectory'][0]}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_itself_understands_every_line(tmp_path: Path) -> None:
    """Its own parser; the program, which is not installed here, is replaced by one that is."""
    unit = tmp_path / "tradingd.service"
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text("utf-8"), flags=re.MULTILINE)
    unit.write_text(text.replace("#LoadCredential", "LoadCredential"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_itself_finds_little_exposure() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(UNIT)],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    found = re.search(r"Overall exposure level for tradingd.service: ([0-9.]+)", done.stdout)
    if found is None:
        pytest.skip(f"systemd-analyze cannot work here: {done.stderr.strip()[:200]}")
    assert float(found[1]) <= 1.2
