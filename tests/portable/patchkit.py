"""Two versions of a feature and the patch between them, as a publisher's tools make them, for tests of upgrades by delta."""

import binascii

from evergrow_protocol.cbor import dumps
from evergrow_sim.publisher import manifest
from installkit import CLASS, VENDOR, digest_of, programme, signer

OLD = programme(1001, rinses=30, more={80: b"".join([b"rinse %d of 30, then drain\n" % i for i in range(40)])})
NEW = programme(1001, rinses=31, more={3: "1.1", 80: b"".join([b"rinse %d of 31, then drain\n" % i for i in range(40)])})
# zlib.compressobj(9, DEFLATED, -11, 8, zdict=OLD), of NEW
PATCH = binascii.unhexlify(
    "edd5a10d002000c4c05198e196664e048a907a04f6ebffe645984dd8f8effac7575d93ae49d7a46bd235e99a744dba265d93ae69d7b46bda35ed9a76"
    "4dbba65dd3ae69d7b46bda35ed9a764dbba65dd3ae69d7b46bda35ed9a764dbba65dd3ae69d7b46bda35ed9a764dbb76a605"
)
# The same of 1 MiB of zeros, without an old content.
BOMB = b"\xed\xc1\x31\x01\x00\x00\x00\xc2\xa0\xf5\x4f\x6d\x0d\x0f\xa0" + bytes(400) + b"\x80"


def upgrade(patch=PATCH, new=NEW, old=OLD, sequence=2, whole=True):
    """-> [envelope, whole, patch]: `new` by the patch where `old` is installed, else whole, if that is offered."""
    result = {3: digest_of(new), 14: len(new)}
    fits = [20, {3: digest_of(old), 14: len(old)}, 3, 0]
    fetch = [21, 2, 3, 15]
    ways = [dumps(fits + [20, result, 20, {21: f"evergrow:2?patch={len(patch)}"}] + fetch)]
    if whole:
        ways.append(dumps([20, result, 20, {21: "evergrow:1"}] + fetch))
    shared = [20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]
    sections = {20: [15, ways], 7: [20, result, 3, 15]}
    return [signer().envelope(manifest(shared, sections, ((b"acme", b"spin"),), sequence)), new, patch]
