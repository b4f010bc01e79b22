"""What the root says: evergrow_agent.grants."""

from evergrow_agent import checked, grants, trust
from evergrow_agent.grants import MAX_GRANTS, MAX_JUMP, Grants
from evergrow_agent.programme import Programme
from evergrow_protocol.errors import (
    EXPIRED,
    NOT_AUTHORISED,
    OUT_OF_RANGE,
    STALE,
    STORAGE,
    UNKNOWN_KIND,
    ProtocolError,
)
from faultyflash import MODES, FaultyFlash, PowerCut
from installkit import DRUM, signer
from support import raises
from tinyappliance import TinyAppliance, programme
from trustkit import DAY, NOW, PUBLISHER, accept, grant_of, list_of, provisioned, with_grant

HEAP = "1M"


def other(publisher=9, name="other"):
    return signer(name, name.encode(), publisher)


def code(call, *args, **more):
    try:
        call(*args, **more)
    except ProtocolError as error:
        return error.code
    return 0


def kids(store):
    keys = store.keys()
    return [key.kid for key in keys]


def test_a_grant_makes_its_key_trusted_for_its_publisher_and_prefix():
    """EG-TRUST-002"""
    flash = provisioned()
    store = Grants(flash)
    assert store.keys() == [] and store.sequences() == []
    assert accept(store, grant_of(sequence=3)) == (PUBLISHER, 3)
    for one in (store, Grants(flash)):  # now, and after a reboot
        (key,) = one.keys()
        assert (key.kid, key.publisher, key.prefix) == (b"acme", PUBLISHER, b"acme")
        assert one.sequences() == [(PUBLISHER, 3)]
        assert one.actuators(PUBLISHER) == (1, 2, 4) and one.quota(PUBLISHER) == 8192


def test_a_newer_grant_replaces_the_older_with_its_key_and_rights():
    """EG-TRUST-002"""
    flash, store = with_grant()
    accept(store, grant_of(sequence=2, by=other(PUBLISHER, "other"), k8=[1]))
    for one in (store, Grants(flash)):
        assert kids(one) == [b"other"] and one.actuators(PUBLISHER) == (1,)


def test_sequences_only_rise_and_not_by_leaps():
    """EG-TRUST-003"""
    flash, store = with_grant(payload=grant_of(sequence=5))
    assert code(accept, store, grant_of(sequence=4)) == STALE
    assert code(accept, store, grant_of(sequence=5, k10=9000)) == STALE
    assert code(accept, store, grant_of(sequence=6 + MAX_JUMP), now_s=0) == STALE
    assert code(accept, store, grant_of(sequence=NOW + 1 + MAX_JUMP)) == STALE
    writes = flash.count
    assert accept(store, grant_of(sequence=5)) == (PUBLISHER, 5)
    assert flash.count == writes
    assert accept(store, grant_of(sequence=5 + MAX_JUMP), now_s=0) == (PUBLISHER, 5 + MAX_JUMP)
    # Each publisher has its own.
    assert accept(store, grant_of(publisher=9, sequence=1, by=other())) == (9, 1)


def test_numbers_that_are_seconds_go_on_after_years_in_which_nothing_was_granted():
    """EG-TRUST-003, EG-TRUST-010"""
    _, store = with_grant(payload=grant_of(sequence=NOW - 9 * 365 * DAY))
    assert accept(store, grant_of(sequence=NOW)) == (PUBLISHER, NOW)
    assert accept(store, list_of(NOW - 9 * 365 * DAY)) == (0, NOW - 9 * 365 * DAY)
    assert accept(store, list_of(NOW)) == (0, NOW)


def test_a_key_belongs_to_one():
    """EG-TRUST-004"""
    _, store = with_grant()
    assert code(accept, store, grant_of(publisher=9)) == STALE
    root = grants.root_key(-46, signer("root", b"root", 1).key.public)
    assert code(accept, store, grant_of(publisher=9, k3=root.kid)) == STALE
    assert kids(store) == [b"acme"]


def test_validity_limits_publishing_and_not_use():
    """EG-TRUST-005"""
    _, store = with_grant(payload=grant_of(k12=NOW - 10, k13=NOW + 10))
    assert code(store.check_time, PUBLISHER, NOW) == 0
    assert code(store.check_time, PUBLISHER, NOW - 11) == EXPIRED
    assert code(store.check_time, PUBLISHER, NOW + 11) == EXPIRED
    assert not store.revoked(PUBLISHER, 1001, 1)
    assert code(accept, store, grant_of(sequence=2, k13=NOW - 1)) == EXPIRED
    assert store.sequences() == [(PUBLISHER, 1)]
    assert accept(store, grant_of(sequence=2, k12=NOW + 100)) == (PUBLISHER, 2)  # it may come early
    assert code(store.check_time, PUBLISHER, NOW) == EXPIRED


def test_a_programme_and_an_unlock_must_stay_within_the_grant():
    """EG-TRUST-006"""
    appliance = TinyAppliance()
    wash = Programme(programme(1001), appliance.signals, appliance.limits)
    for more, expected in (({}, 0), ({"k8": [1, 2]}, NOT_AUTHORISED), ({"k7": [2, 3]}, NOT_AUTHORISED)):
        _, store = with_grant(payload=grant_of(**more))
        assert code(store.check_programme, PUBLISHER, wash) == expected, more
    _, store = with_grant(payload=grant_of(k8=[1, 2]))
    assert code(store.check_unlocks, PUBLISHER, {DRUM: 1400}) == NOT_AUTHORISED
    assert code(store.check_unlocks, PUBLISHER, {1: 1}) == 0


def test_a_bounded_number_of_grants_is_kept():
    """EG-TRUST-009"""
    _, store = with_grant()
    for number in range(MAX_GRANTS - 1):
        accept(store, grant_of(publisher=100 + number, k3=b"kid%d" % number))
    assert code(accept, store, grant_of(publisher=99, k3=b"one too many")) == STORAGE
    assert accept(store, grant_of(sequence=2)) == (PUBLISHER, 2)
    assert MAX_GRANTS >= 8


def test_the_newest_list_counts_as_a_whole():
    """EG-TRUST-010"""
    flash, store = with_grant()
    assert accept(store, list_of(2, features=[[PUBLISHER, 1001, 0, 3]])) == (0, 2)
    assert store.revoked(PUBLISHER, 1001, 3) and not store.revoked(PUBLISHER, 1001, 4)
    assert code(accept, store, list_of(1)) == STALE
    assert code(accept, store, list_of(2)) == STALE
    assert code(accept, store, list_of(3 + MAX_JUMP), now_s=0) == STALE
    assert accept(store, list_of(2, features=[[PUBLISHER, 1001, 0, 3]])) == (0, 2)
    assert accept(store, list_of(3, features=[[PUBLISHER, 1002, 0, 9]])) == (0, 3)
    for one in (store, Grants(flash)):
        assert one.revocations.sequence == 3
        assert one.revoked(PUBLISHER, 1002, 9) and not one.revoked(PUBLISHER, 1001, 3)


def test_a_revoked_key_or_publisher_signs_nothing_and_is_granted_nothing():
    """EG-TRUST-011, EG-TRUST-013"""
    flash, store = with_grant()
    accept(store, list_of(1, kids=[b"acme"]))
    for one in (store, Grants(flash)):
        assert one.keys() == []
        assert not one.revoked(PUBLISHER, 1001, 1)  # what is installed is named by itself, if it is to go
        assert code(accept, one, grant_of(sequence=2)) == NOT_AUTHORISED
        assert code(accept, one, grant_of(sequence=1)) == NOT_AUTHORISED
    assert accept(store, grant_of(sequence=2, by=other(PUBLISHER, "other"))) == (PUBLISHER, 2)
    accept(store, list_of(2, publishers=[PUBLISHER]))
    for one in (store, Grants(flash)):
        assert one.keys() == [] and one.revoked(PUBLISHER, 1001, 1)
        assert code(accept, one, grant_of(sequence=3, by=other(PUBLISHER, "third"))) == NOT_AUTHORISED


def test_a_ring_of_keys_may_do_everything_unless_it_is_revoked():
    """EG-TRUST-011"""
    flash = provisioned()
    trust.provision(flash, [signer().key])
    store = Grants(flash)
    assert kids(store) == [b"acme"] and store.actuators(PUBLISHER) is None and store.quota(PUBLISHER) is None
    assert not store.revoked(PUBLISHER, 1001, 1)
    accept(store, list_of(1, kids=[b"acme"]))
    assert store.keys() == []


def test_without_a_root_key_nothing_is_accepted_and_nothing_is_held_against_what_is_installed():
    """EG-TRUST-001, EG-TRUST-014"""
    store = Grants(FaultyFlash())
    assert code(accept, store, grant_of()) == NOT_AUTHORISED
    assert store.sequences() is None and not store.revoked(PUBLISHER, 1001, 1)


def test_with_a_root_key_a_publisher_without_a_grant_is_nobody():
    """EG-TRUST-012"""
    assert Grants(provisioned()).revoked(PUBLISHER, 1001, 1)


def test_content_that_is_not_known_is_refused():
    """EG-TRUST-001"""
    _, store = with_grant()
    assert code(accept, store, grant_of(sequence=2), 3) == UNKNOWN_KIND
    assert code(accept, store, grant_of(sequence=2), 2) == UNKNOWN_KIND
    assert code(accept, store, list_of(1), 1) == UNKNOWN_KIND
    assert code(accept, store, grant_of(sequence=2, k8=[0])) == OUT_OF_RANGE


def test_power_cuts_leave_the_old_or_the_new():
    """EG-TRUST-008, EG-TRUST-013. All cut points on the real file system: `evergrow sim cuts trust`."""
    for payload, content in ((grant_of(sequence=2, k8=[1]), 1), (list_of(1, publishers=[9]), 2)):
        for mode in MODES:
            flash, _ = with_grant()
            flash = FaultyFlash(flash.files, 1, mode)
            raises(PowerCut, accept, Grants(flash), payload, content)
            store = Grants(FaultyFlash(flash.files))
            assert not store.damaged and kids(store) == [b"acme"]
            assert (store.actuators(PUBLISHER), store.revocations.sequence) in (((1, 2, 4), 0), ((1,), 0), ((1, 2, 4), 1))
            accept(store, payload)  # the cloud offers it again
            assert Grants(FaultyFlash(flash.files)).sequences() == store.sequences()


def test_an_error_after_which_it_is_there_is_none_and_any_other_changes_nothing():
    """EG-TRUST-008"""
    for mode in MODES:
        flash, _ = with_grant()
        flash = FaultyFlash(flash.files, mode=mode, fail=lambda number: number == 1)
        store = Grants(flash)
        try:
            accept(store, grant_of(sequence=2))
        except OSError:
            pass
        assert store.sequences() == Grants(FaultyFlash(flash.files)).sequences()


def test_a_damaged_file_takes_rights_away_and_gives_none():
    """EG-TRUST-008, EG-TRUST-013"""
    flash, store = with_grant()
    accept(store, list_of(1, features=[[PUBLISHER, 1001, 0, 3]]))
    flash.rot("revoked", 70)
    store = Grants(flash)
    assert store.revoked(PUBLISHER, 1001, 1) and store.revoked(PUBLISHER, 2000, 1) and store.keys() == []
    accept(store, list_of(1, features=[[PUBLISHER, 1001, 0, 3]]))
    assert not store.revoked(PUBLISHER, 2000, 1) and kids(store) == [b"acme"]
    flash.rot("grant.7", 70)
    store = Grants(flash)
    assert store.keys() == [] and store.revoked(PUBLISHER, 2000, 1)
    flash.rot("root", 70)
    assert Grants(flash).keys() == [] and code(accept, Grants(flash), grant_of()) == NOT_AUTHORISED


def test_while_the_flash_does_not_answer_nothing_is_refused_for_good():
    flash, _ = with_grant()
    for name in ("root", "grant.7", "revoked", "trust"):
        flash.fail_reads = (name,)
        store = Grants(flash)
        assert store.keys() is None and code(accept, store, grant_of(sequence=2)) == STORAGE, name


def test_what_another_firmware_wrote_and_this_one_cannot_read_trusts_nobody_and_stops_nothing():
    """EG-TRUST-008: an older firmware that finds a newer grant or list still comes up, and takes others."""
    flash, _ = with_grant()
    checked.save(flash, "grant.77", b"\x00")
    store = Grants(flash)
    assert len(store.sequences()) == 1 and store.keys() and store.damaged
    checked.save(flash, "revoked", b"\x00")
    store = Grants(flash)
    assert store.keys() == [] and store.revoked(PUBLISHER, 1001, 1)
    accept(store, list_of(), 2)
    assert store.keys() and Grants(flash).keys()
