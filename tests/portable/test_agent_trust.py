"""The key ring of a device: evergrow_agent.trust."""

from evergrow_agent import trust
from evergrow_protocol.cbor import dumps
from evergrow_protocol.cose import Key
from evergrow_protocol.errors import BAD_TYPE, TOO_LARGE, ProtocolError
from faultyflash import FaultyFlash
from support import raises


def key(number=1):
    return Key(bytes((number,)) * 8, -46, b"p" * 60, number, b"acme")


def test_provisioned_keys_are_loaded_as_they_were():
    flash = FaultyFlash()
    trust.provision(flash, [key(1), key(2)])
    first, second = trust.load(flash)
    assert (first.kid, first.alg, first.public, first.publisher, first.prefix) == (b"\x01" * 8, -46, b"p" * 60, 1, b"acme")
    assert second.publisher == 2


def test_a_device_without_a_key_ring_trusts_nobody():
    """EG-FEAT-003"""
    assert trust.load(FaultyFlash()) == []


def test_a_damaged_key_ring_trusts_nobody():
    """EG-FEAT-003"""
    good = dumps([[b"kid", -46, b"public", 1, b"acme"]])
    for damage in (
        b"",
        b"\x00",
        good[:-1],
        good + b"\x00",
        dumps([[b"kid", -46, b"public", 1]]),
        dumps([[b"kid", -46, b"p", "1", b"a"]]),
    ):
        assert trust.load(FaultyFlash({trust.FILE: damage})) == [], damage
    flash = FaultyFlash({trust.FILE: good})
    assert len(trust.load(flash)) == 1


def test_a_key_ring_that_cannot_be_read_is_not_an_empty_one():
    flash = FaultyFlash({trust.FILE: dumps([[b"kid", -46, b"public", 1, b"acme"]])})
    flash.fail_reads = (trust.FILE,)
    raises(OSError, trust.load, flash)


def test_a_key_ring_that_could_not_be_loaded_is_not_provisioned():
    flash = FaultyFlash()
    too_many = [key() for _ in range(trust.MAX_KEYS + 1)]
    assert raises(ProtocolError, trust.provision, flash, too_many).code == TOO_LARGE
    wrong = key()
    wrong.prefix = "acme"
    assert raises(ProtocolError, trust.provision, flash, [wrong]).code == BAD_TYPE
    assert flash.files == {}
