"""Patches: the new content is made exactly, in bounded memory, and nothing that claims to be a patch gets further."""

import binascii
from hashlib import sha256

from evergrow_agent import delta, forms
from evergrow_protocol import suit
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import BAD_DIGEST, INVALID_STATE, TOO_LARGE, ProtocolError
from evergrow_protocol.suit_envelope import Envelope
from evergrow_protocol.suit_manifest import INSTALL, Manifest
from evergrow_sim.publisher import manifest
from faultyflash import FaultyFlash
from support import raises

OLD = b"".join([b"step %d: heat to %d, then turn\n" % (i, 30 + i * i % 60) for i in range(90)])
NEW = OLD.replace(b"heat to 39", b"heat to 41").replace(b"step 50", b"pause\nstep 50")[:-40]
# zlib.compressobj(9, DEFLATED, -12, 8, zdict=OLD), of NEW
PATCH = binascii.unhexlify(
    "2ba65bdbd6c470b46d3bdab61dce6d5b2c297c88b46db1b87cb46d3b62dab60589a5c5a923a8858b25b50f91162e16978fb670475bb8c3ae858b259d63b47001"
)
# The same, of 1 MiB of zeros without an old content: its first 75 bytes make 60,000 of them.
BOMB = b"\xed\xc1\x31\x01\x00\x00\x00\xc2\xa0\xf5\x4f\x6d\x0d\x0f\xa0" + bytes(59) + b"\x80"


class Source:
    """Bytes as `apply` reads them; counts what was read."""

    def __init__(self, data):
        self.data = data
        self.calls = 0
        self.most = 0

    def __call__(self, offset, buf):
        piece = self.data[offset : offset + len(buf)]
        buf[: len(piece)] = piece
        self.calls += 1
        self.most = max(self.most, len(buf))
        return len(piece)


def apply(old, patch, size):
    return b"".join([bytes(piece) for piece in delta.apply(Source(old), len(old), Source(patch), len(patch), size)])


def test_the_patch_makes_the_new_content_of_the_old():
    """EG-SUIT-007"""
    assert len(PATCH) < len(NEW) // 40
    assert apply(OLD, PATCH, len(NEW)) == NEW


def test_a_patch_on_nothing_is_plain_deflate():
    assert apply(b"", b"\x01\x02\x00\xfd\xffok", 2) == b"ok"
    assert apply(b"", b"\x03\x00", 0) == b""
    assert apply(OLD, b"\x03\x00", 0) == b""


def test_it_is_made_in_small_pieces_of_what_is_read_in_small_pieces():
    """EG-SUIT-007: bounded memory, and others may run in between."""
    old = Source(OLD)
    pieces = [len(piece) for piece in delta.apply(old, len(OLD), Source(PATCH), len(PATCH), len(NEW))]
    assert max(pieces) <= delta.CHUNK and sum(pieces) == len(NEW)
    assert len(pieces) >= (len(OLD) + len(NEW)) // delta.CHUNK
    assert old.most <= delta.CHUNK and old.calls == -(-len(OLD) // delta.CHUNK)


def test_every_size_of_old_content_joins_the_patch_at_a_byte():
    for size in (1, 255, 256, 257, 512, 513):
        # A stored block of its own: 'ok'.
        assert apply(OLD[:size], b"\x01\x02\x00\xfd\xffok", 2) == b"ok", size


def test_a_patch_that_makes_too_much_is_cut_at_the_signed_size():
    """EG-SUIT-007, endless data: code 8, after no more than the signed size was made."""
    patch = Source(BOMB)
    made = 0
    try:
        for piece in delta.apply(Source(b""), 0, patch, len(BOMB), 1000):
            made += len(piece)
    except ProtocolError as exc:
        assert exc.code == TOO_LARGE
    else:
        raise AssertionError("a bomb went off")
    assert made == 1000 and patch.calls == 1
    assert raises(ProtocolError, apply, OLD, PATCH, len(NEW) - 1).code == TOO_LARGE


def test_a_patch_that_makes_too_little_is_a_bad_digest():
    """EG-SUIT-007"""
    assert raises(ProtocolError, apply, OLD, PATCH, len(NEW) + 1).code == BAD_DIGEST
    for size in range(len(PATCH) - 1):
        assert raises(ProtocolError, apply, OLD, PATCH[:size], len(NEW)).code == BAD_DIGEST, size


def test_what_is_no_patch_is_refused_by_code_or_makes_other_bytes():
    """EG-SUIT-007"""
    for at in range(len(PATCH)):
        bad = bytearray(PATCH)
        bad[at] ^= 1 << at % 8
        try:
            assert len(apply(OLD, bytes(bad), len(NEW))) == len(NEW)  # what it made differs: the digest tells
        except ProtocolError as exc:
            assert exc.code in (TOO_LARGE, BAD_DIGEST)
    assert raises(ProtocolError, apply, OLD, b"\xff" * 40, 10).code == BAD_DIGEST
    assert raises(ProtocolError, apply, OLD, b"", 10).code == BAD_DIGEST


def test_another_old_content_makes_another_content():
    assert apply(OLD.replace(b"heat", b"cool"), PATCH, len(NEW)) != NEW
    try:  # inflaters differ in what they say of a copy from before the beginning
        assert apply(b"", PATCH, len(NEW)) != NEW
    except ProtocolError as exc:
        assert exc.code == BAD_DIGEST


def test_an_old_content_that_is_shorter_than_it_should_be_is_a_bad_digest():
    def apply_short():
        return list(delta.apply(Source(OLD[:-1]), len(OLD), Source(PATCH), len(PATCH), len(NEW)))

    assert raises(ProtocolError, apply_short).code == BAD_DIGEST


def test_a_flash_that_fails_is_not_taken_for_a_bad_patch():
    def fail(offset, buf):
        raise OSError(5, "EIO")

    def run():
        return list(delta.apply(fail, 10, Source(PATCH), len(PATCH), 10))

    assert raises(OSError, run).errno == 5


def test_the_window_holds_the_old_content_up_to_16_kib():
    for old, new, bits in (
        (0, 0, 10),
        (762, 100, 10),
        (763, 0, 11),
        (100, 763, 11),
        (7930, 0, 13),
        (7931, 0, 14),
        (99999, 0, 14),
    ):
        assert delta.window_bits(old, new) == bits, (old, new)


def test_source_and_byte_code_load_where_they_can():
    """EG-SUIT-006: CPython takes source alone, MicroPython its own version of byte code, and source where it has a compiler."""
    assert forms.loads(forms.SOURCE)
    assert [slot for slot in range(1, 10) if forms.loads(slot)] in ([], [6])
    assert not forms.loads(-1)


# -- as an installer uses it

VENDOR, CLASS = bytes(range(16)), bytes(range(16, 32))
FITS = [20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]


def digest_of(content):
    return dumps([-16, sha256(content).digest()])


def ways(patch_bytes, content=NEW):
    """Byte code of a version that nothing loads; then source: by the patch, or whole."""
    result = {3: digest_of(content), 14: len(content)}
    by_patch, whole = dict(result), dict(result)
    by_patch[21] = f"evergrow:2?patch={patch_bytes}"
    whole[21] = "evergrow:1"
    slot = [20, {5: 0}, 5, 0]
    installed = [20, {3: digest_of(OLD), 14: len(OLD)}, 3, 0]
    fetch = [21, 2, 3, 15]
    return [
        dumps([20, {5: 99}, 5, 0, 20, whole] + fetch),
        dumps(slot + installed + [20, by_patch] + fetch),
        dumps(slot + [20, whole] + fetch),
    ]


def install(flash, payloads, sequences):
    """What an installer does for one component, in the least lines; -> the URIs that it fetched."""
    envelope = Envelope(dumps({2: dumps([digest_of(b"")]), 3: manifest(FITS, {INSTALL: [15, sequences]})}))
    fetched = []
    steps = suit.Processor(Manifest(envelope), VENDOR, CLASS).run(INSTALL)
    answer = None
    current = "old"
    while True:
        try:
            action = steps.send(answer)
        except StopIteration:
            return fetched
        if action.kind == suit.COMPONENT_SLOT:
            answer = forms.loads(action.slot)
        elif action.kind == suit.IMAGE_MATCH:
            content = flash.read(current) or b""
            answer = len(content) == action.size and sha256(content).digest() == bytes(action.digest)
        elif action.kind == suit.FETCH:
            fetched.append(action.uri)
            current = "new"
            flash.remove("new")
            answer = store(flash, payloads, action)


def store(flash, payloads, action):
    number, patch = suit.locate(action.uri)
    if not patch:
        flash.append("new", payloads[number])
        return True
    flash.write("patch", payloads[number])

    def read_old(offset, buf):
        return flash.readinto("old", offset, buf)

    def read_patch(offset, buf):
        return flash.readinto("patch", offset, buf)

    try:
        for piece in delta.apply(read_old, flash.size("old"), read_patch, patch, action.size):
            if piece:
                flash.append("new", bytes(piece))
    except ProtocolError:
        return False  # the next alternative follows
    return True


def test_an_installer_takes_the_patch_where_it_fits_and_the_whole_where_not():
    """EG-SUIT-006, EG-SUIT-007"""
    payloads = {1: NEW, 2: PATCH}
    patched, whole = f"evergrow:2?patch={len(PATCH)}", "evergrow:1"
    for old, offered, fetched in (
        (OLD, payloads, [patched]),
        (OLD[:-1], payloads, [whole]),  # another content is installed
        (b"", payloads, [whole]),
        (OLD, {1: NEW, 2: bytes(len(PATCH))}, [patched, whole]),  # the patch is not what was built
        (OLD, {1: NEW, 2: BOMB[: len(PATCH)]}, [patched, whole]),
    ):
        flash = FaultyFlash()
        if old:
            flash.write("old", old)
        assert install(flash, offered, ways(len(PATCH))) == fetched, fetched
        assert flash.read("new") == NEW


def test_no_patch_ever_stores_more_than_the_signed_size():
    """EG-SUIT-007, endless data"""
    flash = FaultyFlash()
    flash.write("old", OLD)
    small = NEW[:500]
    patch_only = ways(len(PATCH), small)[1:2]
    assert raises(ProtocolError, install, flash, {2: PATCH}, patch_only).code == INVALID_STATE
    assert flash.size("new") <= len(small)
