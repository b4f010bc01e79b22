"""Records on flash move above the boot numbers that the cloud knows of this device (EG-ENV-006).

A flash that was erased has forgotten which numbers are taken. What it holds since then was told to nobody, so that its numbers
may change: every boot number b <= base stands for b + base. Since b + base > base, whatever is read or written twice, before or
after a power cut, comes out the same.
"""

from evergrow_agent import chain
from evergrow_protocol import messages
from evergrow_protocol.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from evergrow_agent.journal import Journal

    Buffer = bytes | bytearray | memoryview


def above(boot: int, base: int) -> int:
    """The number that a boot has now."""
    return boot + base if boot <= base else boot


def record_id(record: "Buffer") -> "tuple[int, int]":
    """(boot, seq) of a record; (0, 0), which none has, of one that another firmware wrote in a way that cannot be read."""
    try:
        return messages.record_id(record)
    except ProtocolError:
        return 0, 0


def rewrite(journal: "Journal", base: int, key: "bytes | None", feed: "Callable[[], None]") -> bytes:
    """Bring all records above `base`, a segment at a time, and chain them anew; returns the last tag. OSError: some are not.

    What cannot be read stays as it is. `feed` is called for each segment, since a board may take a second for it: at a safe point
    only.
    """
    tag = chain.START

    def change(record: memoryview) -> bytes:
        nonlocal tag
        boot = record_id(record)[0]
        if not boot:
            return bytes(record)
        end = len(record) - (chain.ROOM if chain.tag(record) else 0)
        envelope = messages.with_boot(record[:end], above(boot, base))
        if not key:
            return envelope
        sealed = chain.seal(key, tag, envelope)
        tag = chain.tag(sealed) or tag
        return sealed

    for segment in journal.segments:
        feed()
        done = False
        for record in journal.records(segment):
            boot = record_id(record)[0]
            if boot:
                done = boot > base
                if not done:
                    break
                tag = chain.tag(record) or tag
        if not done:
            journal.rewrite(segment, change)
    return tag
