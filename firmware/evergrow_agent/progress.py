"""How far the transfer under way has come, so that a power cut costs no more than what was in RAM.

    file `pull`       a `checked` CBOR array: [transfer, envelope bytes, SHA-256 of it, [[component, payload, file], ...]]
    file `pull.env`   the envelope, whose signature was verified before it was written

How many bytes of a payload there are is the size of its file, and whether they are the right ones its digest says in the end: so
that nothing has to be written for each piece but the piece. A transfer id names one content for ever (EG-FEAT-001).
"""

from hashlib import sha256

from evergrow_agent import checked
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "pull"
ENVELOPE = "pull.env"


class Progress:
    """`files`: those of unfinished payloads, which are not to be cleaned away. Never raises for what it finds on the flash."""

    def __init__(self, flash: "Any") -> None:
        self._flash = flash
        self._transfer = 0
        self._size = 0
        self._digest = b""
        self._rows: "list[Any]" = []
        try:
            content = checked.load(flash, FILE)
            if content:
                self._transfer, self._size, self._digest, self._rows = loads(content)
        except OSError:
            return  # The flash has a bad day: nothing goes on, and nothing is lost.
        except (ProtocolError, ValueError, TypeError):
            self._transfer = 0
        if not self._transfer:
            self.end()  # An envelope may be left of one that had just begun or ended.

    @property
    def transfer(self) -> int:
        """The one that is under way, 0 for none."""
        return self._transfer

    @property
    def files(self) -> "list[str]":
        return [row[2] for row in self._rows] if self._transfer else []

    def envelope(self, transfer: int, data: memoryview) -> bool:
        """Fill `data` with the envelope of a transfer that was under way, if it was and that envelope has this size."""
        if transfer != self._transfer or len(data) != self._size:
            return False
        try:
            found = self._flash.size(ENVELOPE) == len(data) == self._flash.readinto(ENVELOPE, 0, data)
        except OSError:
            return False
        return found and sha256(data).digest() == self._digest

    def file(self, transfer: int, component: bytes, payload: int) -> str:
        """The file in which that payload was begun, "" for none."""
        for row in self._rows if transfer == self._transfer else ():
            if row[0] == component and row[1] == payload:
                return str(row[2])
        return ""

    def begin(self, transfer: int, data: memoryview, component: bytes, payload: int, file: str) -> None:
        """From now on that payload of that transfer, whose verified envelope is `data`, is under way. OSError."""
        if transfer != self._transfer:
            self._flash.write(ENVELOPE, data)
            self._transfer, self._size, self._digest, self._rows = transfer, len(data), sha256(data).digest(), []
        self._rows = [row for row in self._rows if row[0] != component] + [[component, payload, file]]
        try:
            checked.save(self._flash, FILE, dumps([transfer, self._size, self._digest, self._rows]))
        except OSError:
            self._transfer = 0
            raise

    def end(self) -> None:
        """No transfer is under way. A file that cannot be removed costs room, nothing else."""
        self._transfer = 0
        self._rows.clear()
        for name in (FILE, ENVELOPE):
            try:
                if self._flash.size(name) >= 0:
                    self._flash.remove(name)
            except OSError:
                pass
