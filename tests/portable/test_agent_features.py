"""The index of features: evergrow_agent.features on a flash that fails and loses power."""

from evergrow_agent import records
from evergrow_agent.features import MAX_RECORDS, Features
from evergrow_protocol.errors import BAD_DIGEST, STALE, STORAGE, ProtocolError
from faultyflash import AFTER, BEFORE, MODES, FaultyFlash, PowerCut
from installkit import DRUM, PUBLISHER, programme, record, unlock
from support import raises

HEAP = "512K"

OLD = unlock(maximum=1200)
NEW = unlock(maximum=1400, version="1.1")


def stage(flash, features, body, **fields):
    """Put a body on the flash as the installer does; returns its record, not yet active."""
    file = features.staging_file()
    for at in range(0, len(body), 16):
        flash.append(file, body[at : at + 16])
    return record(body, file=file, **fields)


def with_old(capacity=1 << 20):
    """The files of a device with version 1 active."""
    flash = FaultyFlash(capacity=capacity)
    features = Features(flash)
    features.activate(stage(flash, features, OLD))
    return flash.files


def maxima(features):
    return [maximum for _, maximum, _ in features.unlocks()]


def test_a_new_device_has_no_features():
    features = Features(FaultyFlash())
    assert features.active() == []
    assert features.unlocks() == []
    assert features.programme(1002) is None
    assert features.problems == []


def test_an_active_unlock_survives_a_boot():
    """EG-BIRTH-003"""
    features = Features(FaultyFlash(with_old()))
    assert features.active() == [(PUBLISHER, 1001, 1)]
    assert features.unlocks() == [(DRUM, 1200, (PUBLISHER, 1001))]
    assert features.problems == []


def test_an_active_programme_is_found_by_its_id():
    flash = FaultyFlash()
    installing = Features(flash)
    installing.activate(stage(flash, installing, programme(), feature=1002))
    for features in (installing, Features(FaultyFlash(flash.files))):
        data, who = features.programme(1002)
        assert bytes(data) in programme()
        assert data[1:4] == b"\x19\x03\xea"
        assert who == (PUBLISHER, 1002)
        assert features.programme(1003) is None


def test_a_power_cut_during_an_upgrade_leaves_the_old_or_the_new_whole():
    """EG-FEAT-007"""
    cuts = 0
    for mode in MODES:
        at = 1
        while True:
            flash = FaultyFlash(with_old(), at, mode)
            features = Features(flash)
            try:
                features.activate(stage(flash, features, NEW, sequence=2))
                done = True
            except PowerCut:
                done = False
            features = Features(FaultyFlash(flash.files))
            assert (features.active(), maxima(features)) in (
                ([(PUBLISHER, 1001, 1)], [1200]),
                ([(PUBLISHER, 1001, 2)], [1400]),
            ), (mode, at)
            assert features.problems == []
            assert len(flash.files) == 2, "the index and one body"
            files = dict(flash.files)
            assert maxima(Features(FaultyFlash(flash.files))) == maxima(features)
            assert flash.files == files, "a second boot changes nothing"
            if done:
                assert maxima(features) == [1400]
                break
            cuts += 1
            at += 1
    print(f"{cuts} cut points")
    assert cuts > 12


def test_a_power_cut_during_a_removal_leaves_the_feature_or_takes_it_whole():
    """EG-FEAT-007"""
    for mode in MODES:
        for at in range(1, 4):
            flash = FaultyFlash(with_old(), at, mode)
            features = Features(flash)
            try:
                features.remove(PUBLISHER, 1001)
            except PowerCut:
                pass
            features = Features(FaultyFlash(flash.files))
            assert maxima(features) in ([1200], [])
            assert features.find(PUBLISHER, b"spin").sequence == 1
            assert len(flash.files) == (2 if features.active() else 1)


def test_a_flash_error_during_an_upgrade_leaves_the_old_or_the_new_whole():
    """EG-FEAT-011"""
    for mode in (BEFORE, AFTER):
        for at in range(1, 12):
            flash = FaultyFlash(with_old(), mode=mode)
            features = Features(flash)
            flash.fail = lambda number, at=at: number == at
            try:
                features.activate(stage(flash, features, NEW, sequence=2))
                expected = [1400]
            except OSError:
                expected = [1200]
            assert maxima(features) == expected, (mode, at)
            assert maxima(Features(FaultyFlash(flash.files))) == expected, (mode, at)


def test_a_removed_feature_leaves_its_sequence_number():
    """EG-FEAT-005"""
    flash = FaultyFlash(with_old())
    removing = Features(flash)
    assert removing.remove(PUBLISHER, 1001)
    assert not removing.remove(PUBLISHER, 1001)
    assert not removing.remove(PUBLISHER, 4711)
    for features in (removing, Features(FaultyFlash(flash.files))):
        assert features.active() == []
        assert features.unlocks() == []
        assert features.find(PUBLISHER, b"spin").sequence == 1
    removing.activate(stage(flash, removing, NEW, sequence=2))
    assert removing.active() == [(PUBLISHER, 1001, 2)]


def test_a_decayed_body_is_out_of_use_and_reported_and_the_others_stay():
    flash = FaultyFlash(with_old())
    features = Features(flash)
    features.activate(stage(flash, features, programme(), feature=1002, component=b"rinse"))
    for name in flash.files:
        if name.startswith("feature.") and b"spin" in flash.files[name]:
            flash.files[name] = flash.files[name][:-1] + b"\x00"
    features = Features(FaultyFlash(flash.files))
    assert features.active() == [(PUBLISHER, 1002, 1)]
    assert features.problems == [(BAD_DIGEST, PUBLISHER, 1001, 1)]
    assert features.find(PUBLISHER, b"spin").sequence == 1


def test_a_body_that_decays_while_in_use_is_out_of_use_from_then_on():
    flash = FaultyFlash()
    features = Features(flash)
    features.activate(stage(flash, features, programme(), feature=1002))
    flash.files["feature.0"] = bytes(len(programme()))
    assert features.programme(1002) is None
    assert features.programme(1002) is None
    assert features.active() == []
    assert features.problems == [(BAD_DIGEST, PUBLISHER, 1002, 1)]


def test_a_missing_or_unreadable_body_is_out_of_use():
    files = with_old()
    flash = FaultyFlash(files)
    flash.fail_reads = ("feature.0",)
    features = Features(flash)
    assert features.problems == [(STORAGE, PUBLISHER, 1001, 1)]
    assert "feature.0" in files, "it may be readable another day"
    del files["feature.0"]
    features = Features(FaultyFlash(files))
    assert features.active() == []
    assert features.problems == [(BAD_DIGEST, PUBLISHER, 1001, 1)]


def test_a_damaged_index_costs_the_features_and_nothing_else():
    files = with_old()
    files["programmes"] = b"the appliance's own"
    for damage in (b"", b"\x00", files["features"][:-1], files["features"] + b"\x00"):
        files["features"] = damage
        features = Features(FaultyFlash(files))
        assert features.active() == []
        assert features.problems == [(BAD_DIGEST, 0, 0, 0)]
        assert files["programmes"] == b"the appliance's own"
    flash = FaultyFlash(files)
    features.activate(stage(flash, features, NEW, sequence=2))


def test_an_index_that_cannot_be_read_now_is_not_overwritten():
    files = with_old()
    flash = FaultyFlash(files)
    flash.fail_reads = ("features",)
    features = Features(flash)
    assert features.problems == [(STORAGE, 0, 0, 0)]
    assert raises(ProtocolError, features.staging_file).code == STORAGE
    features.clean()
    assert Features(FaultyFlash(files)).active() == [(PUBLISHER, 1001, 1)]


def test_bodies_without_a_record_are_removed_at_boot_and_other_files_are_not():
    files = with_old()
    files["feature.7"] = b"orphan"
    files["use.00000001"] = b"usage"
    Features(FaultyFlash(files))
    assert sorted(files) == ["feature.0", "features", "use.00000001"]


def test_a_body_other_than_what_was_signed_is_not_activated():
    """EG-FEAT-004"""
    flash = FaultyFlash()
    features = Features(flash)
    new = stage(flash, features, NEW)
    flash.files[new.file] = OLD
    assert raises(ProtocolError, features.activate, new).code == BAD_DIGEST
    assert features.active() == []
    assert "features" not in flash.files


def test_the_number_of_features_is_bounded():
    flash = FaultyFlash()
    features = Features(flash)
    for i in range(MAX_RECORDS):
        body = unlock(feature=1001 + i)
        features.activate(stage(flash, features, body, component=bytes((i,)), feature=1001 + i))
    body = unlock(feature=2000)
    new = stage(flash, features, body, component=b"more", feature=2000)
    assert raises(ProtocolError, features.activate, new).code == STORAGE
    assert len(Features(FaultyFlash(flash.files)).active()) == MAX_RECORDS


def test_a_feature_may_not_take_the_id_or_the_programme_of_another_component():
    flash = FaultyFlash(with_old())
    features = Features(flash)
    features.activate(stage(flash, features, programme(), feature=1002, component=b"rinse"))
    twin = record(NEW, component=b"other", feature=1001)
    assert raises(ProtocolError, features.check_conflicts, twin).code == STALE
    twin = record(NEW, component=b"other", feature=1003)
    features.check_conflicts(twin)
    twin.programme_id = 1002
    assert raises(ProtocolError, features.check_conflicts, twin).code == STALE


def test_a_record_that_is_made_anew_says_what_the_old_one_said():
    """EG-FEAT-007: what lies in memory after that is what lies on flash."""
    old = records.Record(PUBLISHER, b"\x81\x41a", 1001, 7, 2, "feature.0", 100, bytes(32), records.CONFIRMED, 5, 1, 2, [b"x"], 3)
    old.unlocks = {DRUM: 1200}
    old.heap_bytes, old.meters, old.whole = 4096, [3], 2
    old.reached = old.announced = True
    new = records.renewed(old)
    assert new is not old and new.row() == old.row() and new.active
    assert (new.unlocks, new.entitlement, new.heap_bytes, new.meters) == (old.unlocks, True, 4096, [3])
    assert not new.reached and new.broken == "" and records.Record.unlocks == {}


def test_what_a_confirmed_transfer_left_is_made_anew_once_and_says_the_same():
    """EG-FEAT-007: after it as before it the index in memory is the one on flash, and the feature stays in use."""
    flash = FaultyFlash(with_old())
    features = Features(flash)
    new = stage(flash, features, NEW, sequence=2)
    new.transfer = 9
    features.activate(new)
    features.confirm(9)
    before, limits = [one.row() for one in features.records], maxima(features)
    held = [one for one in features.records if one.state == records.CONFIRMED]
    features.settle()
    anew = [one for one in features.records if one.state == records.CONFIRMED]
    assert held and not [one for one in anew if one in held]
    features.settle()
    assert [one for one in features.records if one.state == records.CONFIRMED] == anew
    assert [one.row() for one in features.records] == before == [one.row() for one in Features(flash).records]
    assert maxima(features) == limits and limits
