"""Attacks on who may publish what and who may use it, each with the code that it must give (SPEC sections 12 and 13).

| attack | what is tried | code |
|---|---|---|
| publisher outside its prefix | a component of another publisher, well signed | 10 |
| publisher outside its rights | an actuator or a signal that was not granted | 10 |
| publisher beyond its quota | more flash than granted | 8 |
| rights by way of a dependency | what a publisher may not, inside the envelope of one who may | 8, 10 |
| quota replay | the older, larger grant again | 9 |
| grant rollback | the older grant with the older key | 9 |
| grant signed by oneself | a publisher signs its own grant | 10 |
| grant under a foreign key id | two publishers, one key id | 9 |
| fast-forward | a sequence far ahead, to use the numbers up | 9 |
| mix-up of documents | a grant as a list, a list as a grant | 3 |
| revocation-list rollback | the older list, which names nobody | 9 |
| freeze | the newest list is kept from the device | shows in birth |
| back from the dead | what is revoked, offered again, or granted again | 10 |
| entitlement cloning | another device's entitlement | 10 |
| replayed entitlement | the older one, the used-up one | 9, 0 without effect |
| entitlement forged | another key, a changed byte | 10 |
| clock rollback | time set back after the end | 15 |
| clock stopped | no time at all, for ever | 15 |
| receipt truncation | power cut to get a use for nothing | 15 |
"""

from bundlekit import around, whole
from evergrow_agent.grants import MAX_JUMP
from evergrow_protocol.errors import (
    MALFORMED,
    NOT_AUTHORISED,
    NOT_ENTITLED,
    OK,
    STALE,
    TOO_LARGE,
    UNKNOWN_KIND,
)
from installkit import signer
from rightskit import Washer, wash, washer
from tinyappliance import DRAIN, INLET
from trustkit import DAY, KEY, NOW, PUBLISHER, claims_of, grant_of, list_of, root, token_of

HEAP = "1M"


def eve():
    return signer("eve", b"eve", 9)


async def test_publisher_outside_its_prefix():
    """EG-FEAT-003, EG-TRUST-002"""
    device = await washer()
    assert await device.grant(grant_of(9, by=eve())) == OK
    assert await device.install(wash(needs=0), by=eve(), prefix=b"acme") == NOT_AUTHORISED
    assert await device.install(wash(needs=0), by=eve(), prefix=b"eve") == OK


async def test_publisher_outside_its_rights():
    """EG-TRUST-006"""
    for rights in ({"k8": [INLET, DRAIN]}, {"k7": [3]}):
        device = Washer()
        await device.grant(grant_of(**rights))
        assert await device.install(wash(needs=0)) == NOT_AUTHORISED
        assert device.features.active() == [] and device.run(1) == OK


async def test_publisher_beyond_its_quota():
    """EG-TRUST-006"""
    device = Washer()
    await device.grant(grant_of(k10=64))
    assert await device.install(wash(needs=0)) == TOO_LARGE


async def test_rights_by_way_of_a_dependency():
    """EG-SUIT-004, EG-TRUST-006, EG-TRUST-011: what comes inside another publisher's envelope is held to its own publisher's
    grant: its quota, its actuators, its revocations; and the one around it falls with it."""
    inner = whole(signer(), (b"acme", b"wash"), wash(1002, needs=0))
    payloads = [around(eve(), (b"eve", b"f"), wash(needs=0), inner, (b"acme", b"wash"))]
    for grant, revoked, expected in (
        (grant_of(), None, OK),
        (grant_of(k10=64), None, TOO_LARGE),
        (grant_of(k8=[INLET, DRAIN]), None, NOT_AUTHORISED),
        (grant_of(), list_of(1, features=[[PUBLISHER, 1002, 0, 5]]), NOT_AUTHORISED),
        (grant_of(), list_of(1, publishers=[PUBLISHER]), NOT_AUTHORISED),
    ):
        device = Washer()
        assert await device.grant(grant_of(9, by=eve())) == OK
        assert await device.grant(grant) == OK
        assert revoked is None or await device.revoke(revoked) == OK
        assert (await device.offer(payloads))[0] == expected
        assert len(device.features.active()) == (2 if expected == OK else 0)


async def test_quota_replay_and_grant_rollback():
    """EG-TRUST-003"""
    device = Washer()
    large = grant_of(sequence=1, k10=100_000)
    await device.grant(large)
    assert await device.grant(grant_of(sequence=2, k10=64, by=signer("new", b"acme"))) == OK
    for one in (device, device.reboot()):
        assert await one.grant(large) == STALE
        assert one.grants.quota(PUBLISHER) == 64
        assert await one.install(wash(needs=0)) == NOT_AUTHORISED  # the key of the older grant signs nothing any more


async def test_grant_signed_by_oneself():
    """EG-TRUST-001"""
    device = await washer()
    for kid in (None, b"acme", root().message(b"")[7:15]):
        forged = signer().message(grant_of(sequence=2, k10=1 << 30), kid=kid)
        code, _ = await device.offer([forged], 1)
        assert code == NOT_AUTHORISED
    assert device.grants.quota(PUBLISHER) == 8192


async def test_grant_under_a_foreign_key_id():
    """EG-TRUST-004"""
    device = await washer()
    assert await device.grant(grant_of(9)) == STALE


async def test_fast_forward():
    """EG-TRUST-003, EG-TRUST-010, EG-ENT-003"""
    device = await washer()
    assert await device.grant(grant_of(sequence=0xFFFFFFFF)) == STALE
    assert await device.revoke(list_of(1)) == OK
    assert await device.revoke(list_of(NOW + 60 + MAX_JUMP)) == STALE
    device.entitle(1)
    assert device.entitle(0xFFFFFFFF) == STALE


async def test_mix_up_of_documents():
    """EG-TRUST-001"""
    device = await washer()
    assert (await device.offer([root().message(grant_of(sequence=2))], 2))[0] == UNKNOWN_KIND
    assert (await device.offer([root().message(list_of())], 1))[0] == UNKNOWN_KIND
    assert (await device.offer([root().message(list_of())], 7))[0] == UNKNOWN_KIND
    assert (await device.offer([token_of(claims_of())], 1))[0] == MALFORMED


async def test_revocation_list_rollback():
    """EG-TRUST-010, EG-TRUST-013"""
    device = await washer(wash(needs=0))
    await device.revoke(list_of(1))
    await device.revoke(list_of(2, features=[[PUBLISHER, 1001, 0, 5]]))
    for one in (device, device.reboot()):
        assert await one.revoke(list_of(1)) == STALE
        assert one.start() == NOT_AUTHORISED and one.run(1) == OK


async def test_freeze():
    """EG-TRUST-014: nothing on a device can know of what it never got; but whoever hears its birth sees it."""
    device = await washer()
    await device.revoke(list_of(4))
    again = device.reboot()
    assert again.grants.sequences() == [(PUBLISHER, 1)] and again.grants.revocations.sequence == 4


async def test_back_from_the_dead():
    """EG-TRUST-011, EG-TRUST-013"""
    device = await washer(wash(needs=0))
    await device.revoke(list_of(1, features=[[PUBLISHER, 1001, 0, 1]]))
    assert await device.install(wash(needs=0), b"f0", 1) == NOT_AUTHORISED
    await device.revoke(list_of(2, publishers=[PUBLISHER]))
    assert await device.grant(grant_of(sequence=9)) == NOT_AUTHORISED
    assert await device.grant(grant_of(sequence=10, by=eve())) == NOT_AUTHORISED
    for one in (device, device.reboot()):
        assert one.rights.in_use() == [] and one.start() == NOT_AUTHORISED


async def test_entitlement_cloning_to_another_device():
    """EG-ENT-001: not even between devices that share a key by mistake."""
    first = await washer(wash())
    token = token_of(claims_of(k4=5))
    assert first.entitlements.take(token)[3] == OK and first.run() == OK
    for more in ({"key": KEY}, {"subject": "acme/d2"}, {"subject": "other/d1"}):
        second = await washer(wash(), **more)
        assert second.entitlements.take(token)[3] == NOT_AUTHORISED
        assert second.start() == NOT_ENTITLED


async def test_replayed_entitlements():
    """EG-ENT-003"""
    device = await washer(wash())
    trial, paid = token_of(claims_of(1, k4=1, k6=True)), token_of(claims_of(2, k4=1))
    device.entitlements.take(trial)
    assert device.run() == OK
    assert device.entitlements.take(trial)[3] == OK and device.start() == NOT_ENTITLED
    device.entitlements.take(paid)
    assert device.run() == OK
    for one in (device, device.reboot()):
        assert one.entitlements.take(trial)[3] == STALE
        assert one.entitlements.take(paid)[3] == OK
        assert one.start() == NOT_ENTITLED and one.run(1) == OK


async def test_entitlement_forged():
    """EG-ENT-001"""
    device = await washer(wash())
    good = token_of(claims_of(k4=1))
    at = good.index(b"\x04\x01")  # the number of uses
    for bad in (token_of(claims_of(), key=KEY), good[: at + 1] + b"\x17" + good[at + 2 :], good[:-1] + b"\x00"):
        assert device.entitlements.take(bad) == [0, 0, 0, NOT_AUTHORISED]
    assert device.start() == NOT_ENTITLED


async def test_clock_rollback():
    """EG-ENT-007"""
    device = await washer(wash())
    device.entitle(claims={4: NOW + DAY})
    assert device.run() == OK
    device.clock.run(DAY)
    assert device.start() == NOT_ENTITLED
    device.clock.utc = NOW
    assert device.start() == NOT_ENTITLED
    device.seen.tick()
    device.rights.save_time()
    for utc in (NOW, NOW - 300 * DAY, None):
        assert device.reboot(utc).start() == NOT_ENTITLED


async def test_clock_stopped():
    """EG-ENT-008: a device that is kept from the time, and restarted before each wash, uses its grace up by washing."""
    device = await washer(wash())
    device.entitle(claims={4: NOW + 300 * DAY}, k5=60)
    starts = 0
    while device.run() == OK:
        starts += 1
        device = device.reboot(None)
        assert starts < 20
    assert starts >= 2 and device.run(1) == OK


async def test_receipt_truncation():
    """EG-ENT-009: power is cut at any moment of a wash to get its use back; each start costs one."""
    for ticks in range(12):
        device = await washer(wash())
        device.entitle(k4=1)
        assert device.start() == OK
        for _ in range(ticks):
            device.tick()
        device = device.reboot()
        assert device.start() == NOT_ENTITLED, ticks
        assert len(device.records()) == 1 and device.records()[0][3][:2] == [PUBLISHER, 1001]
