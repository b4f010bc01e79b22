"""Entitlements on a device: evergrow_agent.entitlements."""

from evergrow_agent.entitlements import MAX_HELD
from evergrow_protocol.errors import MALFORMED, NOT_AUTHORISED, OK, STALE, STORAGE, UNSUPPORTED
from faultyflash import MODES, FaultyFlash, PowerCut
from support import raises
from trustkit import DAY, NOW, PUBLISHER, Boot, claims_of, token_of

HEAP = "512K"


def give(boot, sequence=1, **more):
    return boot.take(token_of(claims_of(sequence, **more)))


def use(boot, cycle, seq=1):
    boot.entitlements.use(PUBLISHER, 1001, cycle, seq)


def test_an_entitlement_holds_for_its_feature_also_after_a_reboot():
    """EG-ENT-006"""
    boot = Boot()
    assert not boot.entitled()
    assert boot.entitlements.take(token_of(claims_of(4))) == [PUBLISHER, 1001, 4, OK]
    for one in (boot, Boot(boot.flash)):
        assert one.entitled() and not one.entitled(feature=1002)


def test_only_authentic_ones_for_this_device_are_taken():
    """EG-ENT-001, EG-ENT-002"""
    boot = Boot()
    token = token_of(claims_of())
    assert boot.entitlements.take(token_of(claims_of(), key=bytes(32))) == [0, 0, 0, NOT_AUTHORISED]
    assert boot.entitlements.take(token_of(claims_of(subject="acme/d2"))) == [0, 0, 0, NOT_AUTHORISED]
    assert Boot(key=None).entitlements.take(token) == [0, 0, 0, NOT_AUTHORISED]
    assert boot.entitlements.take(token[:-1]) == [0, 0, 0, MALFORMED]
    assert boot.take(token_of(claims_of(**{"k-1": 0}))) == UNSUPPORTED
    assert not boot.entitled() and boot.flash.count == 0


def test_sequences_only_rise_and_a_replay_gives_no_use_back():
    """EG-ENT-003"""
    boot = Boot()
    give(boot, 5, k4=1)
    use(boot, 1)
    assert not boot.entitled()
    for one in (boot, Boot(boot.flash)):
        assert give(one, 5, k4=1) == OK
        assert not one.entitled()
        assert give(one, 4, k4=9) == give(one, 5, k4=9) == give(one, NOW + 1 + (1 << 26)) == STALE
        assert not one.entitled()


def test_numbers_that_are_seconds_go_on_after_years_in_which_nothing_was_sold():
    """EG-ENT-003: what was sold for ever can be ended after ten years."""
    boot = Boot()
    assert give(boot, NOW - 3650 * DAY) == OK and boot.entitled()
    assert give(boot, NOW, k4=0) == OK and not boot.entitled()


def test_a_newer_one_counts_from_none_and_one_of_no_uses_ends_the_right():
    """EG-ENT-004"""
    boot = Boot()
    give(boot, 1, k4=1)
    use(boot, 1)
    assert give(boot, 2, k4=2) == OK
    assert boot.entitled()
    use(boot, 2)
    assert boot.entitled()
    use(boot, 3)
    assert not boot.entitled()
    assert give(boot, 3) == OK and boot.entitled()
    assert give(boot, 4, k4=0) == OK
    for one in (boot, Boot(boot.flash)):
        assert not one.entitled()
        assert give(one, 3) == STALE


def test_it_holds_for_a_range_of_versions():
    """EG-ENT-006"""
    boot = Boot()
    give(boot, k3=[2, 4])
    assert [boot.entitled(sequence) for sequence in range(1, 6)] == [False, True, True, True, False]


def test_it_begins_and_ends_with_grace():
    """EG-ENT-006"""
    boot = Boot()
    give(boot, claims={4: NOW + DAY, 5: NOW + 10}, k5=DAY)
    assert not boot.entitled()
    boot.clock.run(10)
    assert boot.entitled()
    boot.clock.run(2 * DAY - 10)
    assert boot.entitled()
    boot.clock.run(1)
    assert not boot.entitled()


def test_setting_the_clock_back_gains_nothing():
    """EG-ENT-007"""
    boot = Boot()
    give(boot, claims={4: NOW + DAY})
    boot.clock.run(DAY + 1)
    assert not boot.entitled()
    boot.clock.utc = NOW
    assert not boot.entitled()
    boot.seen.save()
    assert not Boot(boot.flash, utc=NOW).entitled()
    assert not Boot(boot.flash, utc=None).entitled()


def test_when_it_was_issued_is_the_earliest_that_it_can_be():
    """EG-ENT-007"""
    boot = Boot(utc=None)
    give(boot, claims={4: NOW + DAY, 6: NOW}, k5=DAY)
    for one in (boot, Boot(boot.flash, utc=None)):
        assert one.entitled() and one.seen.now_s >= NOW
        assert not Boot(one.flash, utc=NOW + 2 * DAY + 1).entitled()


def test_without_utc_it_holds_for_as_long_a_run_as_its_grace():
    """EG-ENT-008"""
    boot = Boot()
    give(boot, claims={4: NOW + 30 * DAY}, k5=7200)
    for _ in range(2):
        boot = Boot(boot.flash, utc=None)
        assert boot.entitled()
        boot.clock.run(3600)
        boot.seen.tick()
    assert boot.entitled()
    boot.clock.run(1)
    assert not boot.entitled()
    boot.seen.save()
    assert not Boot(boot.flash, utc=None).entitled()
    boot.clock.utc = NOW + 3 * DAY
    assert boot.entitled()


def test_a_clock_that_was_wrong_by_years_is_put_right_by_an_entitlement_alone():
    """EG-ENT-014, EG-ENT-007"""
    boot = Boot()
    give(boot, 1, claims={4: NOW + 30 * DAY, 6: NOW})
    other = token_of(claims_of(1, feature=1002, claims={4: NOW + 30 * DAY}))
    assert boot.take(other) == OK and boot.entitled(feature=1002)
    boot.clock.utc = NOW + 5000 * DAY
    assert not boot.entitled()
    boot.seen.save()
    boot = Boot(boot.flash)
    assert not boot.entitled()  # UTC is right again, and comes too late
    assert give(boot, 2, claims={4: NOW + 30 * DAY, 6: NOW}) == OK and not boot.entitled()
    right = {"claims": {4: NOW + 30 * DAY, 6: NOW + 60}, "k8": True}
    assert give(boot, 3, **right) == OK
    for one in (boot, Boot(boot.flash), Boot(boot.flash, utc=None)):
        assert one.seen.now_s >= NOW + 60
        assert Boot(boot.flash).entitled() and Boot(boot.flash).entitled(feature=1002)
    boot.clock.run(31 * DAY)
    assert not boot.entitled()
    assert give(boot, 3, **right) == OK and not boot.entitled()  # the same again sets nothing
    assert not Boot(boot.flash, utc=NOW).entitled()


def test_what_sets_the_time_says_which_and_is_authentic():
    """EG-ENT-014, EG-ENT-001"""
    boot = Boot()
    boot.seen.tick()
    assert give(boot, 1, k8=True) == OK and boot.seen.now_s == NOW  # without `issued`
    forged = token_of(claims_of(2, claims={6: NOW - 900 * DAY}, k8=True), key=bytes(32))
    assert boot.take(forged) == 10 and boot.seen.now_s == NOW


def test_one_without_an_end_needs_no_time_at_all():
    """EG-ENT-006"""
    boot = Boot(utc=None)
    give(boot)
    boot.clock.run(1000 * DAY)
    assert boot.entitled() and "seen" not in boot.flash.names()


def test_a_cycle_counts_once_also_after_a_reboot():
    """EG-ENT-009"""
    boot = Boot()
    give(boot, k4=2)
    for _ in range(3):
        use(boot, 7, 1)
        boot = Boot(boot.flash)
    assert boot.entitled()
    use(boot, 7, 2)
    assert not boot.entitled() and not Boot(boot.flash).entitled()


def test_without_a_limit_nothing_is_counted_or_written():
    """EG-ENT-009"""
    boot = Boot()
    give(boot)
    writes = boot.flash.count
    use(boot, 1)
    assert boot.flash.count == writes and not boot.entitlements.counts(PUBLISHER, 1001)


def test_a_power_cut_leaves_the_old_or_the_new_and_at_most_one_use_more():
    """EG-ENT-009, EG-ENT-010. All cut points on the real file system: `evergrow sim cuts entitlement`."""
    for mode in MODES:
        boot = Boot()
        give(boot, 1, k4=1)
        flash = FaultyFlash(boot.flash.files, 1, mode)
        raises(PowerCut, use, Boot(flash), 7)
        boot = Boot(FaultyFlash(flash.files))
        was = boot.entitled()
        use(boot, 7)
        assert not boot.entitled() and was in (True, False)
        flash = FaultyFlash(boot.flash.files, 1, mode)
        raises(PowerCut, give, Boot(flash), 2)
        boot = Boot(FaultyFlash(flash.files))
        assert not boot.entitlements.damaged
        assert give(boot, 2) == OK and boot.entitled()


def test_a_flash_that_fails_while_it_counts_says_so_and_nothing_is_counted():
    """EG-ENT-009"""
    boot = Boot()
    give(boot, k4=1)
    boot.flash.fail = lambda number: True
    raises(OSError, use, boot, 7)
    assert boot.entitled()
    assert give(boot, 2) == STORAGE
    boot.flash.fail = None
    use(boot, 7)
    assert not boot.entitled()


def test_a_damaged_one_does_not_hold_until_it_comes_again():
    """EG-ENT-010"""
    boot = Boot()
    give(boot)
    boot.flash.rot("ent.7.1001", 50)
    boot = Boot(boot.flash)
    assert not boot.entitled() and boot.entitlements.damaged
    assert give(boot) == OK and boot.entitled()


def test_a_trial_is_known_as_one():
    """EG-ENT-011"""
    boot = Boot()
    assert not boot.entitlements.trial(PUBLISHER, 1001)
    give(boot, k6=True)
    assert Boot(boot.flash).entitlements.trial(PUBLISHER, 1001)
    give(boot, 2)
    assert not boot.entitlements.trial(PUBLISHER, 1001)


def test_a_bounded_number_is_kept():
    """EG-ENT-012"""
    boot = Boot()
    for number in range(MAX_HELD):
        assert give(boot, feature=1001 + number) == OK
    assert give(boot, feature=2000) == STORAGE
    assert give(boot, 2) == OK
    assert MAX_HELD >= 24


def test_what_could_not_be_read_at_boot_is_not_overwritten():
    """EG-ENT-009: an entitlement that comes again while the flash has a bad day gives no use back."""
    boot = Boot()
    assert give(boot, k4=1) == OK
    use(boot, 1)
    boot.flash.fail_reads = (f"ent.{PUBLISHER}.1001",)
    broken = Boot(boot.flash)
    boot.flash.fail_reads = ()
    assert give(broken, k4=1) == STORAGE and not broken.entitled()
    again = Boot(boot.flash)
    assert give(again, k4=1) == OK and not again.entitled()
