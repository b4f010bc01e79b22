"""HMAC-SHA256: evergrow_protocol.hmac, with the vectors of RFC 4231."""

from evergrow_protocol import hmac

# RFC 4231 section 4: (key, data, HMAC-SHA256). The fifth is given truncated to 128 bits.
VECTORS = (
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed"
        b" before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
)


def test_the_vectors_of_rfc_4231():
    for key, data, expected in VECTORS:
        want = bytes([int(expected[i : i + 2], 16) for i in range(0, len(expected), 2)])
        assert hmac.digest(key, data)[: len(want)] == want, key


def test_parts_are_one_message():
    whole = hmac.digest(b"key", b"one two")
    assert hmac.digest(b"key", b"one", b"", memoryview(b" two")) == whole
    assert hmac.digest(b"key") == hmac.digest(b"key", b"") != whole


def test_a_key_of_exactly_one_block_is_not_hashed():
    key = bytes(range(64))
    inner = hmac.sha256(bytes([byte ^ 0x36 for byte in key]) + b"data").digest()
    assert hmac.digest(key, b"data") == hmac.sha256(bytes([byte ^ 0x5C for byte in key]) + inner).digest()


def test_tags_are_equal_only_in_every_byte_and_in_length():
    tag = bytes(range(8))
    assert hmac.equal(tag, bytearray(tag)) and hmac.equal(b"", b"")
    for i in range(8):
        for bit in range(8):
            other = bytearray(tag)
            other[i] ^= 1 << bit
            assert not hmac.equal(tag, other)
    assert not hmac.equal(tag, tag[:7]) and not hmac.equal(tag, tag + b"\x00")
