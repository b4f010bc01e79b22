"""The device key: evergrow_agent.devicekey."""

from evergrow_agent import devicekey
from evergrow_protocol import hmac
from faultyflash import MODES, FaultyFlash, PowerCut
from support import raises

KEY = bytes(range(32))


def test_each_use_has_a_subkey_of_its_own():
    """EG-KEY-001"""
    flash = FaultyFlash()
    devicekey.provision(flash, KEY)
    usage = devicekey.subkey(flash, devicekey.USAGE)
    assert usage == hmac.digest(KEY, b"eg1 usage")
    assert devicekey.subkey(flash, devicekey.ENTITLEMENT) == hmac.digest(KEY, b"eg1 entitlement") != usage


def test_without_a_key_or_with_a_damaged_one_there_is_no_subkey():
    """EG-KEY-001"""
    flash = FaultyFlash()
    assert devicekey.subkey(flash, devicekey.USAGE) is None
    devicekey.provision(flash, KEY)
    good = flash.files[devicekey.FILE]
    for damage in (b"", good[:-1], good[:5] + b"\xff" + good[6:], good + b"\x00"):
        flash.files[devicekey.FILE] = damage
        assert devicekey.subkey(flash, devicekey.USAGE) is None, damage


def test_a_key_that_cannot_be_read_is_not_a_missing_one():
    flash = FaultyFlash()
    devicekey.provision(flash, KEY)
    flash.fail_reads = (devicekey.FILE,)
    raises(OSError, devicekey.subkey, flash, devicekey.USAGE)


def test_a_key_of_another_length_is_not_provisioned():
    flash = FaultyFlash()
    for length in (0, 16, 31, 33):
        raises(ValueError, devicekey.provision, flash, bytes(length))
    assert flash.files == {}


def test_a_power_cut_leaves_the_old_key_or_the_new_one():
    for mode in MODES:
        flash = FaultyFlash()
        devicekey.provision(flash, KEY)
        flash = FaultyFlash(flash.files, cut_at=1, mode=mode)
        raises(PowerCut, devicekey.provision, flash, bytes(32))
        after = devicekey.subkey(FaultyFlash(flash.files), devicekey.USAGE)
        assert after in (hmac.digest(KEY, devicekey.USAGE), hmac.digest(bytes(32), devicekey.USAGE))
