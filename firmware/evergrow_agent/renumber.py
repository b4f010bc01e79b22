"""Records on flash move above the boot numbers that the cloud knows of this device (EG-ENV-006).

A flash that was erased has forgotten which numbers are taken. What it holds since then was told to nobody, so that its numbers
may change: every boot number b <= base stands for b + base. Since b + base > base, whatever is read or written twice, before or
after a power cut, comes out the same.
"""

from evergrow_agent import chain
from evergrow_agent.journal import RECORD_MAX
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

    What has no id that can be read stays as it is, and so does what stands behind a tag, unless a record would get too long by
    that. `feed` is called for each segment, since a board may take a second for it: at a safe point only.
    """
    tag = chain.START

    def change(record: memoryview) -> bytes:
        nonlocal tag
        boot = record_id(record)[0]
        if not boot:
            return bytes(record)
        end, old = chain.split(record)
        if not end:
            return bytes(record[:1]) + messages.with_boot(record, above(boot, base))[1:]
        sealed = messages.with_boot(record[:end], above(boot, base))
        head = record[0] - (old is not None)
        if key:
            sealed = chain.seal(key, tag, sealed)
            tag = sealed[-chain.TAG :]
            head += 1
        rest = record[end + (chain.ROOM if old else 0) :]
        return bytes((head,)) + sealed[1:] + rest if len(sealed) + len(rest) <= RECORD_MAX else sealed

    for segment in journal.segments:
        feed()
        journal.rewrite(segment, change)
    return tag
