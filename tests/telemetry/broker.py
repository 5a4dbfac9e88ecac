"""A real MQTT broker in a process of its own: mosquitto where it is installed, else amqtt."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import aiomqtt

MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """One broker on a port; `login` is the only name and password that it lets in."""

    def __init__(self, directory: Path, login: tuple[str, str] | None = None, tls: Path | None = None) -> None:
        self.port = free_port()
        self._directory, self._login, self._tls = directory, login, tls
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again; returns once it answers."""
        if MOSQUITTO:
            command = [MOSQUITTO, "-c", str(self._mosquitto())]
        else:
            command = [str(Path(sys.executable).with_name("amqtt")), "-c", str(self._amqtt())]
        with (self._directory / "broker.log").open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._process.poll() is None, (self._directory / "broker.log").read_text()
            time.sleep(0.02)
        raise AssertionError("the broker does not answer")

    def _mosquitto(self) -> Path:
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", "user root"]
        lines.append(f"allow_anonymous {'false' if self._login else 'true'}")
        if self._login:
            passwords = self._directory / "passwords"
            passwords.write_text(":".join(self._login) + "\n")
            subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
            lines.append(f"password_file {passwords}")
        if self._tls:
            lines += [f"certfile {self._tls / 'cert.pem'}", f"keyfile {self._tls / 'key.pem'}"]
        path = self._directory / "mosquitto.conf"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _amqtt(self) -> Path:
        tls = (
            f"\n    ssl: on\n    certfile: {self._tls}/cert.pem\n    keyfile: {self._tls}/key.pem" if self._tls else ""
        )
        plugin = "amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true"
        if self._login:
            from pwdlib import PasswordHash

            passwords = self._directory / "passwords"
            passwords.write_text(f"{self._login[0]}:{PasswordHash.recommended().hash(self._login[1])}\n")
            plugin = f"amqtt.plugins.authentication.FileAuthPlugin:\n    password_file: {passwords}"
        path = self._directory / "amqtt.yaml"
        path.write_text(
            f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{self.port}{tls}\nplugins:\n  {plugin}\n"
        )
        return path

    def stop(self) -> None:
        """Kill it, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It hangs: connections stand, and nothing is read."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class Reader:
    """Everything that a broker has to say, read in a thread of its own."""

    def __init__(self, port: int, **options: Any) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self._port, self._options = port, options
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _main(self) -> None:
        import asyncio

        async def read() -> None:
            async with aiomqtt.Client("127.0.0.1", self._port, **self._options) as client:
                await client.subscribe("#", qos=1)
                self._ready.set()
                async for message in client.messages:
                    text = message.payload.decode() if isinstance(message.payload, bytes) else str(message.payload)
                    self.messages.append((str(message.topic), text, bool(message.retain)))

        with contextlib.suppress(aiomqtt.MqttError):
            asyncio.run(read())

    def of(self, topic: str) -> list[str]:
        """The payloads of one topic, in order."""
        return [text for name, text, _ in list(self.messages) if name == topic]
