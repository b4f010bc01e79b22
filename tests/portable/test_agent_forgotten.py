"""What removed components owe is forgotten for lack of room, and older versions stay out: evergrow_agent.features, .records."""

from evergrow_agent.features import Features
from evergrow_agent.records import MAX_FLOORS, MAX_RECORDS, REMOVED, Record
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import OK, STALE, STORAGE, ProtocolError
from evergrow_sim import lfs
from faultyflash import MODES, FaultyFlash, PowerCut
from installkit import CLASS, PUBLISHER, VENDOR, World, record, signed, signer, unlock
from lfskit import booted
from support import raises

HEAP = "1M"

CONFIRMED, REFUSED = 4, 6
OTHER = 9


def component(name):
    return dumps([b"acme", name])


def removed(numbers, publisher=PUBLISHER):
    """Records of removed components c0, c1, ... with these sequence numbers."""
    return [
        Record(publisher, component(b"c%d" % i), 1100 + i, number, state=REMOVED) for i, number in enumerate(numbers)
    ]


def flash_with(rows, flash=None):
    flash = flash or FaultyFlash()
    features = Features(flash)
    features.records = rows
    features.save()
    return flash


def owed(flash, rows):
    """The components of which an older version could come back now."""
    features = Features(flash)
    return [
        row.component
        for row in rows
        if max(features.sequence(row.publisher, row.component), features.floor(row.publisher)) < row.sequence
    ]


async def ask(world, name, sequence, transfer):
    """Offer a version of a component -> (code, state)."""
    world.reports.clear()
    report = await world.offer(signed(unlock(1000 + transfer), sequence=sequence, name=name), transfer)
    return report[1], report[2]


def test_many_features_come_and_go():
    """EG-FEAT-030"""
    flash = FaultyFlash()
    for i in range(3 * MAX_RECORDS):
        features = Features(flash)
        body = unlock(1001 + i)
        new = record(body, component(b"f%d" % i), 10 + i, 1001 + i, features.staging_file())
        flash.append(new.file, body)
        features.activate(new)
        assert features.remove(PUBLISHER, 1001 + i)
        assert len(Features(flash).records) <= MAX_RECORDS
    assert Features(flash).floor(PUBLISHER) == 10 + 2 * MAX_RECORDS - 1
    assert Features(flash).floor(OTHER) == 0


def test_the_lowest_numbers_are_forgotten_first_and_only_as_many_as_need_be():
    """EG-FEAT-030"""
    rows = removed([50 + i for i in range(MAX_RECORDS - 1)]) + removed([7], OTHER)
    flash = flash_with(rows)
    assert Features(flash).floor(OTHER) == Features(flash).floor(PUBLISHER) == 0
    flash_with(rows + removed([70], OTHER + 1), flash)
    found = Features(flash)
    assert (found.floor(OTHER), found.floor(PUBLISHER), len(found.records)) == (7, 0, MAX_RECORDS)
    assert owed(flash, rows) == []


async def test_what_was_forgotten_does_not_come_back_in_an_older_version():
    """EG-FEAT-030, EG-FEAT-005"""
    world = World(flash_with(removed([20 + i for i in range(MAX_RECORDS)])))
    assert await ask(world, b"new", 30, 1) == (OK, CONFIRMED)
    assert world.features.floor(PUBLISHER) == 20
    assert await ask(world, b"c0", 19, 2) == (STALE, REFUSED)
    assert await ask(world, b"unheard-of", 19, 3) == (STALE, REFUSED)
    assert await ask(world, b"c5", 24, 4) == (STALE, REFUSED)  # that one is still known
    world = World(FaultyFlash(world.flash.files))
    assert await ask(world, b"c0", 19, 5) == (STALE, REFUSED)
    assert await ask(world, b"c0", 20, 6) == (OK, CONFIRMED)  # as of one that is known
    assert await ask(world, b"unheard-of", 21, 7) == (OK, CONFIRMED)


async def test_what_is_installed_is_not_held_to_what_was_forgotten_of_others():
    """EG-FEAT-030"""
    flash = FaultyFlash()
    assert await ask(World(flash), b"spin", 3, 1) == (OK, CONFIRMED)
    features = Features(flash)
    flash_with(features.records + removed([500] * MAX_RECORDS), flash)
    assert Features(flash).floor(PUBLISHER) == 500
    assert await ask(World(flash), b"spin", 4, 1) == (OK, CONFIRMED)


async def test_the_removal_of_what_was_forgotten_is_done():
    """EG-FEAT-030, EG-SUIT-005"""
    from evergrow_sim.publisher import manifest

    flash = flash_with(removed([500] * (MAX_RECORDS + 1)))
    shared = [12, True, 20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]
    gone = manifest(shared, {24: [12, True, 33, 15]}, ((b"acme", b"never-here"),), 6)
    world = World(flash)
    report = await world.offer([signer().envelope(gone)], 1)
    assert (report[1], report[2]) == (OK, REMOVED)


def test_only_what_is_installed_takes_room_for_good():
    """EG-FEAT-030: the table of floors is bounded, too; there the device refuses, and forgets nothing."""
    rows = [row for publisher in range(1, MAX_FLOORS + 1) for row in removed([5, 6], publisher)]
    rows = rows[: MAX_RECORDS + MAX_FLOORS]
    flash = flash_with(rows[:MAX_RECORDS])
    for row in rows[MAX_RECORDS:]:
        flash_with(Features(flash).records + [row], flash)
    assert owed(flash, rows) == [] and len(Features(flash).records) == MAX_RECORDS
    many = [row for publisher in range(1, 60) for row in removed([5], publisher)]
    features = Features(FaultyFlash())
    features._floors = {publisher: 1 for publisher in range(100, 100 + MAX_FLOORS)}
    assert raises(ProtocolError, features._commit, many).code == STORAGE


async def test_power_cuts_while_something_is_forgotten_let_nothing_older_back():
    """EG-FEAT-030, EG-FEAT-007: at every operation of a simple flash, and at every block operation of LittleFS2 where it is."""
    rows = removed([20 + i for i in range(MAX_RECORDS)])
    prepared = flash_with(rows).files
    payloads = signed(unlock(), sequence=60)
    cuts = 0
    for mode in MODES:
        at, done = 0, False
        while not done:
            at += 1
            flash = FaultyFlash(dict(prepared), at, mode)
            try:
                assert (await World(flash).offer(payloads))[1] == OK
                done = True
            except PowerCut:
                cuts += 1
            flash = FaultyFlash(flash.files)
            assert Features(flash).active() in ([], [(PUBLISHER, 1001, 60)])
            assert owed(flash, rows) == [] and not Features(flash).problems, (mode, at)
    assert cuts > 10
    if not lfs.AVAILABLE:
        return
    blocks = lfs.RamBlocks(16)
    _, flash = booted(blocks)
    flash_with(rows, flash)
    image = bytes(blocks.data)
    for how in (lfs.CUT_BEFORE, lfs.CUT_TORN, lfs.CUT_AFTER):
        at, done = 0, False
        while not done:
            at += 1
            blocks.data[:] = image
            chip, flash = booted(blocks)
            world = World(flash, block_bytes=256)
            chip.cut(chip.ops + at, how)
            try:
                assert (await world.offer(payloads))[1] == OK
                done = True
            except lfs.PowerCut:
                cuts += 1
            _, flash = booted(blocks)
            assert Features(flash).active() in ([], [(PUBLISHER, 1001, 60)])
            assert owed(flash, rows) == [] and not Features(flash).problems, (how, at)
    print(f"{cuts} cut points")
    assert cuts > 30
