"""What the cloud does to prove a chain of usage records, made small. Portable."""

from evergrow_agent import devicekey
from evergrow_protocol import hmac
from evergrow_protocol.cbor import dumps, loads

KEY = bytes(range(32))
USAGE_KEY = hmac.digest(KEY, devicekey.USAGE)


def break_of(envelopes):
    """The id of the first of `envelopes`, by (boot, seq), that is not chained to the one before it; None for a clean chain."""
    before = bytes(8)
    for boot, seq, t, body, tag in sorted([loads(envelope) for envelope in envelopes], key=lambda record: record[:2]):
        if tag != hmac.digest(USAGE_KEY, before, dumps([boot, seq, t, body]))[:8]:
            return boot, seq
        before = tag
    return None
