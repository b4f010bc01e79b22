"""docs/features.md is followed: every command between "From nothing" and "a confirmed feature", for each kind of feature.

What stands in a terminal of its own is started and left running. The port is another one, since that of the page may be taken;
nothing else is changed for the programme, and names and numbers alone for the other kinds, which are shipped to the same washer.
"""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evergrow_tools import feature_files, feature_new

PAGE = Path(feature_files.__file__).parents[2] / "docs" / "features.md"
SECTION = re.compile(r"## From nothing to a confirmed feature\n(.*?)\n## ", re.S)
BLOCK = re.compile(r"```sh\n(.*?)```", re.S)
LASTING = ("evergrow broker", "evergrow cloud run", "evergrow sim run")
ONCE = ("evergrow key new", "evergrow cloud enrol", *LASTING)
PATIENCE_S = 120


def commands() -> list[str]:
    found = SECTION.search(PAGE.read_text(encoding="utf-8"))
    assert found, "the page has another heading now"
    lines = [line for block in BLOCK.findall(found[1]) for line in block.splitlines()]
    return [re.sub(r"\s+#.*", "", line) for line in lines]


class Desk:
    """A folder, terminals in it, and what was said there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.said: dict[str, str] = {}
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def type(self, line: str) -> None:
        """A command, to its end, or until it says that it is there."""
        words = self._words(line)
        if line.startswith(LASTING):
            name = words[1] if words[1] == "broker" else f"{words[1]}-{words[2]}"
            log = self.folder / f"{name}.log"
            with log.open("wb") as file:
                process = subprocess.Popen(words, cwd=self.folder, stdout=file, stderr=file, stdin=subprocess.PIPE)
            self._running.append((name, process))
            self._await(log, "Ctrl+C" if name == "broker" else "connected", process)
            return
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}\n{self.logs()}"
        self.said[line] = done.stdout

    def ask(self, *words: str) -> Any:
        """What a command with --json says."""
        line = ["evergrow", *words, "--db", "cloud.db", "--json"]
        done = subprocess.run(self._words(shlex.join(line)), cwd=self.folder, capture_output=True, check=True)
        return json.loads(done.stdout)

    def logs(self) -> str:
        return "\n".join((self.folder / f"{name}.log").read_text()[-1000:] for name, _ in self._running)

    def leave(self) -> None:
        """Everything ends in good order when it is told to, as a service is: also where Ctrl+C is ignored, in the background."""
        try:
            for name, process in reversed(self._running):
                process.terminate()
                assert process.wait(PATIENCE_S) == 0, f"{name}\n{self.logs()}"
        finally:
            for _, process in self._running:
                process.kill()

    def _words(self, line: str) -> list[str]:
        words = shlex.split(line.replace(":1883", f":{self.port}"))
        if line.startswith("evergrow broker"):
            words += ["--port", str(self.port)]
        if line.startswith("evergrow sim run"):
            words += ["--broker", f"mqtt://127.0.0.1:{self.port}"]
        return [str(Path(sys.executable).with_name("evergrow")), *words[1:]]

    def _await(self, log: Path, word: str, process: "subprocess.Popen[bytes]") -> None:
        give_up_s = time.monotonic() + PATIENCE_S
        while word not in log.read_text():
            assert process.poll() is None and time.monotonic() < give_up_s, log.read_text()
            time.sleep(0.05)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    pytest.importorskip("micropython_unix", reason="there is no MicroPython wheel for this machine")
    desk = Desk(tmp_path)
    yield desk
    desk.leave()


@pytest.mark.skipif(os.name != "posix", reason="the page is for Linux and macOS")
def test_a_partner_who_follows_the_page_has_a_confirmed_feature_of_each_kind(desk: Desk) -> None:
    """EG-FEAT-019, EG-TRUST-001, EG-CODE-001"""
    page = commands()
    assert page[:2] == ["make venv", ". .venv/bin/activate"]
    assert [line for line in page if line.startswith("evergrow feature push")], "it ships"
    for number, kind in enumerate(("programme", "unlock", "code"), start=1005):
        for line in page[2:]:
            if kind != "programme":
                if line.startswith(ONCE):
                    continue
                line = line.replace("--kind programme", f"--kind {kind}").replace("warm-rinse", f"warm-{kind}")
                own = "cotton" if kind == "unlock" else "quick"  # the first turns as fast as it may, the second takes less time
                line = line.replace("start 1005", f"start {own}").replace("1005", str(number))
            desk.type(line)
            if line.startswith("evergrow feature test"):
                assert desk.said[line].count("result: ok") == 2, desk.said[line]
            if line.startswith("evergrow feature push"):
                assert "confirmed" in desk.said[line]
            if line.startswith("evergrow cloud command"):
                give_up_s = time.monotonic() + PATIENCE_S
                while len(records := desk.ask("cloud", "usage", "acme/washer-1")) != number - 1004:
                    assert time.monotonic() < give_up_s, desk.logs()
                    time.sleep(0.2)
                used = [feature["feature"] for feature in records[-1]["features"]]
                assert records[-1]["outcome"] == "finished" and used == ([] if kind == "code" else [number])
    assert set(feature_new.KINDS) == {"programme", "unlock", "code"}
    status = desk.ask("cloud", "status", "acme/washer-1")
    assert [row["state"] for row in status["transfers"] if row["feature"]] == ["confirmed"] * 3
    assert [row["feature"] for row in status["birth"]["features"]] == [1005, 1006, 1007]
    assert "event-1008" in {row["event"] for row in desk.ask("cloud", "events", "acme/washer-1")}
