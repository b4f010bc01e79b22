"""Starts real MQTT brokers on 127.0.0.1, for tests and for the demo: mosquitto, and the embedded iotcore.

    with Mosquitto(folder) as broker:
        ... "127.0.0.1", broker.port

A broker listens on ports that were free a moment ago, is ready when the block begins, and ends with the block or, at the
latest, with this process. BrokerError says what to do when one cannot run.
"""

import atexit
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"

_READY_LIMIT_S = 10.0
_STOP_LIMIT_S = 5.0
_POLL_S = 0.02
_PORT_TRIES = 3


class BrokerError(Exception):
    """A broker is not installed, or did not start. The message says how to get it, or what it said itself."""


@dataclass(frozen=True)
class BrokerTls:
    """PEM files of a TLS listener. With `require_client_certificate`, clients must show one that `ca` signed, and its common
    name becomes their user name.
    """

    ca: Path
    certificate: Path
    key: Path
    require_client_certificate: bool = False


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def mosquitto_path() -> str:
    """The mosquitto program, from PATH or from where Debian puts it. Raises BrokerError."""
    path = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    if path is None:
        raise BrokerError("mosquitto is not installed. Debian, Ubuntu: apt-get install mosquitto. macOS: brew install mosquitto.")
    return path


class Mosquitto:
    """A mosquitto with MQTT 5 and 3.1.1 on `port`, and on `tls_port` too when `tls` is given.

    `folder`: an existing directory for its configuration, log and database; sessions and retained messages survive `stop()`
    and `start()`, as autosave writes each change down. `acl`: lines of an ACL file (`pattern readwrite eg1/acme/%c/#`); without,
    everybody may do everything. `settings`: more lines for mosquitto.conf, e.g. "max_packet_size 1000".
    """

    def __init__(
        self, folder: Path, *, tls: BrokerTls | None = None, acl: Sequence[str] = (), settings: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.port = 0
        self.tls_port = 0
        self._tls = tls
        self._acl = tuple(acl)
        self._settings = tuple(settings)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it said so far."""
        path = self.folder / "mosquitto.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start on the ports it had before, or on new ones the first time. Raises BrokerError."""
        program = mosquitto_path()
        fresh = self.port == 0
        for attempt in range(_PORT_TRIES):
            if fresh:
                self.port = free_port()
                self.tls_port = free_port() if self._tls else 0
            self._configure()
            with open(self.folder / "mosquitto.log", "ab") as log:
                self._process = subprocess.Popen(
                    [program, "-c", str(self.folder / "mosquitto.conf")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            atexit.register(self.stop)
            try:
                for port in filter(None, (self.port, self.tls_port)):
                    _wait_for(port, self._process, "mosquitto")
                return
            except BrokerError as error:
                self.stop()
                # Somebody else may have taken the port between our look and mosquitto's bind.
                if fresh and attempt + 1 < _PORT_TRIES and "in use" in self.log:
                    continue
                raise BrokerError(f"{error}: {self.log[-500:].strip()}") from None

    def stop(self) -> None:
        """End it as a service manager would: it saves its database. Harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            atexit.unregister(self.stop)
            _end(process)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        process, self._process = self._process, None
        if process is not None:
            atexit.unregister(self.stop)
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _configure(self) -> None:
        lines = [
            "per_listener_settings false",
            f"user {getpass.getuser()}",  # started by root it would otherwise drop to a user who cannot read this folder
            "allow_anonymous true",
            "set_tcp_nodelay true",
            "allow_duplicate_messages false",  # of subscriptions that overlap; mosquitto 2.1 has it the other way by default
            "persistence true",
            f"persistence_location {self.folder}{os.sep}",
            "autosave_on_changes true",
            "autosave_interval 1",
            "log_type all",
            *self._settings,
        ]
        if self._acl:
            path = self.folder / "acl"
            path.write_text("\n".join(self._acl) + "\n")
            path.chmod(0o600)
            lines.append(f"acl_file {path}")
        lines.append(f"listener {self.port} {HOST}")
        if self._tls is not None:
            lines += [
                f"listener {self.tls_port} {HOST}",
                f"cafile {self._tls.ca}",
                f"certfile {self._tls.certificate}",
                f"keyfile {self._tls.key}",
            ]
            if self._tls.require_client_certificate:
                lines += ["require_certificate true", "use_identity_as_username true"]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")


class IotCore:
    """The broker that comes with pip: rumqttd in a child process, MQTT 5 on `port` and 3.1.1 on `v4_port`.

    One world for demos and tests, with gaps that matter: no ACL, nothing survives `stop()`, receive maximum and session expiry
    are ignored, and a version 5 publish with properties never reaches a 3.1.1 subscriber: let all clients use one version.
    `folder`: an existing directory for its configuration. `port`: 0 for one that is free.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.port = 0
        self.v4_port = 0
        self._wanted_port = port
        self._broker: Any = None

    def start(self) -> None:
        """Start, on new ports where none was asked for. Raises BrokerError."""
        try:
            from iotcore import Broker
        except ImportError:
            raise BrokerError("the iotcore package is not installed: pip install 'evergrow[sim]'") from None
        failure: Exception | None = None
        for _ in range(_PORT_TRIES):
            self.port, self.v4_port = self._wanted_port or free_port(), free_port()
            path = self.folder / "iotcore.toml"
            path.write_text(_iotcore_toml(self.port, self.v4_port))
            broker = Broker(config_path=str(path))
            try:
                broker.start(timeout=_READY_LIMIT_S)
            except (OSError, RuntimeError) as error:
                failure = error
                continue
            self._broker = broker
            return
        raise BrokerError(f"iotcore does not start: {failure}")

    def stop(self) -> None:
        """End it. Harmless when it does not run."""
        broker, self._broker = self._broker, None
        if broker is not None:
            atexit.unregister(broker.stop)
            broker.stop(_STOP_LIMIT_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _iotcore_toml(port: int, v4_port: int) -> str:
    listeners = "".join(
        f"""
[{version}.1]
name = "{version}"
listen = "{HOST}:{number}"
next_connection_delay_ms = 0

[{version}.1.connections]
connection_timeout_ms = 60000
max_payload_size = 65536
max_inflight_count = 100
dynamic_filters = true
"""
        for version, number in (("v5", port), ("v4", v4_port))
    )
    router = "max_connections = 10010\nmax_outgoing_packet_count = 200\nmax_segment_size = 104857600\nmax_segment_count = 10\n"
    return f"id = 0\n\n[router]\nid = 0\n{router}{listeners}"


def _wait_for(port: int, process: "subprocess.Popen[bytes]", name: str) -> None:
    """Return when something accepts connections on `port`; BrokerError when the process ends or takes too long."""
    deadline = time.monotonic() + _READY_LIMIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        if process.poll() is not None:
            raise BrokerError(f"{name} ended with code {process.returncode}")
        time.sleep(_POLL_S)
    raise BrokerError(f"{name} does not listen on port {port} after {_READY_LIMIT_S:.0f} s")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
