"""What features may, on a device: evergrow_agent.rights with the installer, the cycle and the guard."""

from evergrow_agent.guard import Guard, GuardError
from evergrow_agent.records import CONFIRMED, REFUSED
from evergrow_agent.rights import Rights
from evergrow_agent.runner import IDLE
from evergrow_protocol.errors import (
    EXPIRED,
    NOT_AUTHORISED,
    NOT_ENTITLED,
    OK,
    STORAGE,
    TOO_LARGE,
)
from installkit import signed, unlock
from rightskit import SPIN, WASH, Washer, spin, wash, washer
from support import raises
from tinyappliance import DRAIN, DRUM, INLET, TinyAppliance
from trustkit import NOW, PUBLISHER, grant_of, list_of

HEAP = "1M"
PLAIN = 1


async def test_a_feature_that_needs_an_entitlement_starts_only_with_one():
    """EG-ENT-005"""
    device = await washer(wash())
    assert device.start() == NOT_ENTITLED
    assert device.run(PLAIN) == OK
    device.entitle(k4=1)
    assert device.run() == OK
    assert device.run() == NOT_ENTITLED
    assert device.run(PLAIN) == OK
    assert [record.get(3) for record in device.records()] == [None, list(WASH), None]


async def test_one_that_needs_none_starts_without():
    """EG-ENT-005"""
    device = await washer(wash(needs=0))
    assert device.run() == OK


async def test_an_unlock_is_applied_only_with_an_entitlement_and_a_use_is_one_that_went_beyond():
    """EG-ENT-005, EG-ENT-009"""
    device = await washer(spin())
    device.run(PLAIN)
    assert device.records()[-1][7] == 1000
    device.entitle(feature=1002, k4=1)
    device.run(PLAIN)
    assert device.records()[-1][7] == 1400 and device.records()[-1][3] == list(SPIN)
    device.run(PLAIN)
    assert device.records()[-1][7] == 1000 and 3 not in device.records()[-1]


async def test_a_cycle_that_runs_goes_on_when_its_entitlement_ends():
    """EG-ENT-005"""
    device = await washer(wash())
    device.entitle(k4=5)
    assert device.start() == OK
    device.tick()
    device.entitle(2, k4=0)
    while device.runner.state != IDLE:
        device.tick()
    assert 1 not in device.records()[-1]
    assert device.start() == NOT_ENTITLED


async def test_a_use_is_durable_before_anything_moves():
    """EG-ENT-009"""
    device = await washer(wash())
    device.entitle(k4=2)
    writes = device.appliance.writes
    assert device.start() == OK
    assert device.appliance.writes == writes
    assert device.entitlements.held()[0][1].used == 1
    again = device.reboot()  # power is lost before the first tick
    assert again.entitlements.held()[0][1].used == 1
    assert [record[1] for record in again.records()] == [3]
    assert again.run() == OK and again.start() == NOT_ENTITLED


async def test_an_unlock_counts_within_the_tick_that_uses_it():
    """EG-ENT-009"""
    device = await washer(spin())
    device.entitle(feature=1002, k4=1)
    device.start(PLAIN)
    while device.appliance.actuators[DRUM] <= 1000:
        assert device.entitlements.held()[0][1].used == 0
        device.tick()
    assert device.entitlements.held()[0][1].used == 1
    again = device.reboot()
    assert again.entitlements.held()[0][1].used == 1
    assert again.records()[-1][3] == list(SPIN)


async def test_a_use_that_cannot_be_counted_is_refused_and_the_appliance_washes():
    """EG-ENT-009"""
    device = await washer(wash())
    device.entitle(k4=1)
    device.flash.fail = lambda number: True
    assert device.start() == STORAGE
    assert device.run(PLAIN) == OK
    device.flash.fail = None
    assert device.run() == OK


async def test_a_trial_is_told_with_the_usage():
    """EG-ENT-011"""
    device = await washer(wash(), spin())
    device.entitle(k6=True)
    device.entitle(feature=1002)
    device.run()
    assert device.records()[-1][3] == [WASH[0], WASH[1], SPIN[0], SPIN[1]] and device.records()[-1][18] == 1
    device.entitle(2)
    device.run()
    assert device.records()[-1][3] == [WASH[0], WASH[1], SPIN[0], SPIN[1]] and 18 not in device.records()[-1]


async def test_one_hardware_is_sold_as_several_tiers_by_entitlement_alone():
    """EG-ENT-005, EG-ENT-006: same firmware, same features, same grant; another entitlement."""
    basic = await washer(wash(), spin())
    plus = await washer(wash(), spin())
    assert basic.flash.files["feature.0"] == plus.flash.files["feature.0"]
    basic.entitle(k7=1, k4=0)
    for feature in (1001, 1002):
        plus.entitle(feature=feature, k7=2)
    assert basic.run() == NOT_ENTITLED and plus.run() == OK
    basic.run(PLAIN)
    assert (basic.records()[-1][7], plus.records()[-1][7]) == (1000, 1400)
    basic.entitle(2, k7=2)  # sold later, without a byte of code
    basic.entitle(feature=1002, k7=2)
    assert basic.run() == OK and basic.records()[-1][7] == 1400


async def test_at_install_a_programme_and_an_unlock_are_held_to_the_grant():
    """EG-TRUST-006"""
    device = Washer()
    for rights, body, expected in (
        ({"k8": [INLET, DRAIN]}, wash(), NOT_AUTHORISED),
        ({"k7": [2]}, wash(), NOT_AUTHORISED),
        ({"k8": [INLET]}, unlock(), NOT_AUTHORISED),
        ({"k10": 20}, wash(), TOO_LARGE),
        ({"k13": NOW - 1000}, wash(), NOT_AUTHORISED),  # such a grant is not taken at all, and the one before grants too little
    ):
        sequence = (device.grants.sequences() or [(0, 0)])[0][1] + 1
        await device.grant(grant_of(sequence=sequence, **rights))
        if "k13" in rights:
            await device.grant(grant_of(sequence=sequence, k8=[INLET, DRAIN]))
        assert await device.install(body) == expected, rights
        assert not device.features.active()
    await device.grant(grant_of(sequence=90))
    assert await device.install(wash()) == OK


async def test_a_programme_without_end_is_held_to_the_grant_too():
    """EG-TRUST-006, EG-TRUST-007"""
    device = Washer()
    await device.grant(grant_of(k8=[INLET, DRAIN]))
    endless = wash(needs=0, more={5: [1001, [{0: 4, 1: {DRUM: 45}, 4: 30, 5: 60}], {0: 60, 1: 3600}]})
    assert await device.install(endless) == NOT_AUTHORISED
    await device.grant(grant_of(sequence=2))
    assert await device.install(endless) == OK
    assert device.start() == OK and device.runner.period_ms == 3_600_000
    device.tick()
    device.tick()
    assert device.appliance.actuators[DRUM] == 45


async def test_all_features_of_a_publisher_share_its_quota_and_an_upgrade_counts_once():
    """EG-TRUST-006"""
    body, other = wash(), wash(1002)
    device = Washer()
    await device.grant(grant_of(k10=len(body) + len(other) - 1))
    assert await device.install(body, b"f0") == OK
    assert await device.install(other, b"f1") == TOO_LARGE
    assert await device.install(wash(more={3: "1.1"}), b"f0", 2) == OK


async def test_outside_its_time_a_grant_installs_nothing_and_takes_nothing_away():
    """EG-TRUST-005"""
    device = Washer()
    await device.grant(grant_of(k13=NOW + 1000))
    assert await device.install(wash(needs=0)) == OK
    device.clock.run(2000)
    assert await device.install(wash(needs=0), sequence=2) == EXPIRED
    assert device.run() == OK


async def test_a_running_programme_cannot_write_beyond_its_grant():
    """EG-TRUST-007"""
    guard = Guard(TinyAppliance())
    assert guard.write(INLET, 1, (INLET,)) == 1
    error = raises(GuardError, guard.write, DRUM, 45, (INLET,))
    assert error.code == NOT_AUTHORISED and guard.value(DRUM) == 0
    assert guard.write(DRUM, 0, (INLET,)) == 0  # the safe state is nobody's right
    assert guard.write(DRUM, 45) == 45


async def test_a_grant_that_became_narrower_counts_from_the_next_cycle_on():
    """EG-TRUST-007"""
    device = await washer(wash(needs=0), spin(needs=0))
    assert device.start() == OK
    assert await device.grant(grant_of(sequence=2, k8=[INLET, DRAIN])) == OK
    while device.runner.state != IDLE:
        device.tick()
    assert 1 not in device.records()[-1]
    assert device.start() == NOT_AUTHORISED
    device.run(PLAIN)
    assert device.records()[-1][7] == 1000


async def test_the_runner_hands_the_grant_to_the_guard_and_the_ending_is_the_appliances_own():
    """EG-TRUST-007: as if a check before had been passed over."""

    class Careless(Rights):
        def admit(self, owner, programme):
            Rights.admit(self, owner, programme)
            return (INLET,)

    device = await washer(wash(needs=0))
    device.cycle.rights = Careless(device.features, device.grants, device.entitlements, device.seen)
    device.run()
    assert device.records()[-1][1] == 2  # a fault: it may not turn the drum
    assert device.records()[-1][7] == 0
    assert device.appliance.values[1] == 0  # drained all the same
    assert device.run(PLAIN) == OK and 1 not in device.records()[-1]


async def test_what_is_revoked_ends_at_the_next_safe_point_and_stays_out():
    """EG-TRUST-012, EG-TRUST-013"""
    device = await washer(wash(needs=0), spin(needs=0))
    assert device.start() == OK
    assert await device.revoke(list_of(1, features=[[PUBLISHER, 1001, 0, 1], [PUBLISHER, 1002, 0, 9]])) == OK
    while device.runner.state != IDLE:
        device.tick()
    assert 1 not in device.records()[-1]  # the cycle that ran came to its end
    for _ in range(2):
        assert device.rights.in_use() == [] and len(device.rights.revoked()) == 2
        assert device.start() == NOT_AUTHORISED
        device.run(PLAIN)
        assert device.records()[-1][7] == 1000
        assert await device.install(wash(needs=0), b"f0", 1) == NOT_AUTHORISED
        device = device.reboot()
    # A newer version that the list does not name is welcome.
    assert await device.install(wash(needs=0, more={3: "1.1"}), b"f0", 2) == OK
    assert device.run() == OK


async def test_what_is_revoked_after_it_was_confirmed_stays_confirmed():
    """EG-FEAT-025, EG-TRUST-012: its outcome was lost, and the cloud offers it again. That it is out of use is told apart."""
    device = await washer()
    payloads = signed(wash(needs=0), name=b"wash", prefix=b"acme")
    assert await device.offer(payloads, transfer=9) == (0, CONFIRMED)
    assert await device.revoke(list_of(1, features=[[PUBLISHER, 1001, 0, 9]])) == 0
    assert await device.offer(payloads, transfer=9) == (0, CONFIRMED)
    assert await device.offer(payloads, transfer=10) == (NOT_AUTHORISED, REFUSED)


async def test_a_revoked_publisher_is_out_with_all_it_has():
    """EG-TRUST-011, EG-TRUST-012"""
    device = await washer(wash(needs=0))
    await device.revoke(list_of(1, publishers=[PUBLISHER]))
    assert device.start() == NOT_AUTHORISED and device.run(PLAIN) == OK
    assert await device.install(wash(1003), b"f3") == NOT_AUTHORISED
    assert await device.grant(grant_of(sequence=2)) == NOT_AUTHORISED


async def test_cycles_whose_records_are_merged_are_uses_each():
    """EG-ENT-009: a device that stays offline until its records find no room uses no feature for nothing."""
    device = await washer(wash())
    assert device.entitle(k4=3) == 0
    device.ledger.journal.has_room = lambda size: False
    for used in (1, 2, 3):
        assert device.run() == 0 and device.ledger.merged_cycles == used
        assert device.entitlements.held()[0][1].used == used
    assert device.run() == NOT_ENTITLED


async def test_a_use_that_is_counted_ends_no_merging_while_a_period_runs():
    """EG-USE-006: the record of what runs without end is not taken for one that is there already."""
    endless = {5: [1001, [{0: 2, 1: {DRUM: 500}, 3: [], 4: 60, 5: 120}], {1: 600}]}
    device = await washer(wash(more=endless))
    assert device.entitle(k4=9) == 0
    has_room = device.ledger.journal.has_room
    device.ledger.journal.has_room = lambda size: False
    assert device.run(1) == 0 and device.ledger.merged_cycles == 1
    assert device.start() == 0
    device.ledger.journal.has_room = has_room
    while device.entitlements.held()[0][1].used < 2:
        device.tick()
    device.cycle.stop(device.clock.now_ms)
    while device.runner.state != IDLE:
        device.tick()
    device.ledger.mend()
    assert sum([body.get(9, 1) for body in device.records()]) == 3


async def test_code_that_cannot_be_looked_at_does_not_keep_the_appliance_from_washing():
    class Code:
        runtime = None

        def sync(self, in_cycle, changed):
            raise MemoryError

    device = await washer()
    device.cycle.code = Code()
    assert device.run(1) == 0 and device.cycle.failures == 1
