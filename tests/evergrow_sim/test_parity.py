"""One washer's story on both interpreters: what the devices send is compared message for message, byte for byte.

CPython runs the sources on the modelled flash; MicroPython the byte code that ships, on the real LittleFS2. The story is that of
tests/portable/washerworld.py: boot, birth, welcome, sync, a remote start of *quick*, its telemetry, usage and ack, a signed
feature installed, and its programme, with the physics of the washer and seeded noise, under a virtual clock.
"""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

from evergrow_protocol.cbor import loads

ROOT = Path(__file__).parents[2]
PORTABLE = ROOT / "tests" / "portable"
SOURCES = [ROOT / "protocol", ROOT / "firmware", ROOT / "host_sim", PORTABLE]

Message = tuple[int, str, bytes]
"""(virtual ms, kind, payload). A birth comes without its fields 5, the interpreter, and 10, its free heap: these may differ."""


def _tell(interpreter: list[str], path: list[Path | str]) -> list[Message]:
    script = f"import sys; sys.path[:0] = {[str(folder) for folder in path]!r}; from washerworld import main; main()"
    ran = subprocess.run([*interpreter, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    _, mark, line = ran.stdout.rpartition("\x1e")
    assert mark and not ran.returncode, ran.stdout + ran.stderr
    return [(ms, kind, bytes.fromhex(payload)) for ms, kind, payload in json.loads(line)]


def test_both_interpreters_send_the_same_messages_at_the_same_times(code: Path) -> None:
    micropython = str(Path(sysconfig.get_path("scripts")) / "micropython")
    board = _tell([micropython, "-X", "heapsize=4M"], [code, PORTABLE, ".frozen"])
    host = _tell([sys.executable], list(SOURCES))

    for number, (here, there) in enumerate(zip(host, board, strict=False)):
        assert here == there, f"message {number}: {_text(here)} on CPython, {_text(there)} on MicroPython"
    assert len(host) == len(board)
    kinds = {kind for _, kind, _ in host}
    assert kinds == {"birth", "state", "sync", "rsp", "tele", "usage", "get", "feat", "event"}
    assert sum(kind == "usage" for _, kind, _ in host) == 2


def _text(message: Message) -> str:
    ms, kind, payload = message
    return f"{kind} at {ms} ms {loads(payload)}"
