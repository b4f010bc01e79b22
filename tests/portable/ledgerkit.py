"""A ledger of usage records, and what the link would send of it. Portable."""

from evergrow_agent.journal import RECORD_MAX, Journal
from evergrow_agent.ledger import Ledger
from evergrow_protocol.cbor import loads


def loaded(flash, **sizes):
    """The ledger of one boot, before any welcome; `sizes` of its journal."""
    ledger = Ledger(flash, Journal(flash, **sizes))
    ledger.load()
    return ledger


def opened(flash, **sizes):
    """The same, welcomed by a cloud that knows of no boot before."""
    ledger = loaded(flash, **sizes)
    ledger.adopt(0)
    return ledger


def announce(ledger, limit=1000):
    """[envelope]: what the link sends now, `limit` at most."""
    buf = memoryview(bytearray(RECORD_MAX))
    sent = []
    while len(sent) < limit:
        size = ledger.next_into(buf)
        if not size:
            break
        sent.append(bytes(buf[:size]))
    return sent


def pending(ledger):
    """[(boot, seq, t, body, ? tag)] of all that is not acked."""
    ledger.rewind()
    return [tuple(loads(envelope)) for envelope in announce(ledger)]
