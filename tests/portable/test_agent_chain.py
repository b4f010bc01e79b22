"""The chain of usage records on the device: evergrow_agent.chain and what the ledger makes of it."""

from chainproof import KEY, break_of
from evergrow_agent import chain, devicekey
from evergrow_protocol.cbor import dumps, loads
from faultyflash import FaultyFlash, PowerCut, cut_everywhere
from ledgerkit import announce, opened

HEAP = "512K"

SIZES = {"segment_bytes": 130, "cap_bytes": 400, "reserve_bytes": 100}


def with_key():
    flash = FaultyFlash()
    devicekey.provision(flash, KEY)
    return flash


def run_cycle(ledger, boot, number):
    seq = ledger.begin(boot)
    return ledger.append(boot, seq, 1_795_339_200 + number, {0: 1, 2: 60, 4: number, 5: 10 * number}, number)


def deliver(ledger, cloud):
    """Everything goes up and is acked; `cloud` is {id: envelope}."""
    moved = True
    while moved:
        boots = []
        for envelope in announce(ledger):
            boot, seq = loads(envelope)[:2]
            assert cloud.setdefault((boot, seq), envelope) == envelope
            boots.append(boot)
        moved = sum([ledger.ack(boot, 0xFFFFFFFF) for boot in boots]) > 0


def test_a_tag_goes_behind_the_body_and_is_found_there():
    """EG-CHAIN-001"""
    envelope = dumps([700, 300, 1795339200, {0: 1}])
    sealed = chain.seal(KEY, chain.START, envelope)
    assert loads(sealed)[:4] == loads(envelope)
    assert chain.split(sealed) == (len(envelope), loads(sealed)[4]) and len(sealed) == len(envelope) + chain.ROOM
    assert chain.split(memoryview(envelope)) == (len(envelope), None)


def test_a_tag_is_what_stands_behind_four_items_whatever_follows():
    """EG-CHAIN-001, EG-ENV-004"""
    first = [700, 300, [5, 1795339200, 1], {0: 1, 16: [1, 2, {2: b"12345678"}]}]
    size = len(dumps(first))
    for rest, tag in (
        ([bytes(8), {1: 2}], bytes(8)),
        ([{1: b"12345678"}], None),
        ([{1: 2}, b"12345678"], None),
        ([b"1234567"], None),
        ([b"12345678", {}, 1, 2, 3, 4, 5], b"12345678"),
    ):
        assert chain.split(dumps(first + rest)) == (size, tag)
    sealed = chain.seal(KEY, chain.START, dumps(first))
    for end in range(1, len(sealed)):
        assert chain.split(sealed[:end]) == (0, None)
    assert chain.split(sealed + b"\x00") == (0, None)


def test_records_are_chained_in_their_order_over_boots_rotation_acks_and_merging():
    """EG-CHAIN-001, EG-CHAIN-002"""
    flash = with_key()
    cloud = {}
    for boot in range(1, 12):
        ledger = opened(FaultyFlash(flash.files), **SIZES)
        for n in range(boot):
            run_cycle(ledger, boot, n)
        if boot % 3 == 0:
            deliver(ledger, cloud)
            ledger.settle()
    ledger = opened(FaultyFlash(flash.files), **SIZES)
    for _ in range(2):
        deliver(ledger, cloud)
        assert ledger.settle()
    assert any([9 in loads(envelope)[3] for envelope in cloud.values()])
    assert break_of(cloud.values()) is None
    assert not [name for name in flash.files if name.startswith("use.0")]


def test_a_device_without_a_key_sends_no_tag_and_begins_when_it_gets_one():
    """EG-CHAIN-001"""
    flash = FaultyFlash()
    cloud = {}
    run_cycle(opened(flash), 1, 0)
    devicekey.provision(flash, KEY)
    for boot in (2, 3):
        ledger = opened(flash)
        run_cycle(ledger, boot, boot)
        deliver(ledger, cloud)
    assert [len(loads(cloud[key])) for key in sorted(cloud)] == [4, 5, 5]
    assert break_of([envelope for key, envelope in cloud.items() if key > (1, 1)]) is None


def test_what_is_freed_is_removed_only_when_its_tag_is_kept_elsewhere():
    """EG-CHAIN-002: the mark cannot be written for a while, and power fails then."""
    for mends in (False, True):
        flash = with_key()
        cloud = {}
        ledger = opened(flash)
        run_cycle(ledger, 1, 1)
        flash.fail = lambda n: True
        deliver(ledger, cloud)
        assert ledger.pending == 0 and not ledger.settled
        flash.fail = None
        if mends:
            ledger.mend()
            assert ledger.settled and "use.00000001" not in flash.files
        ledger = opened(FaultyFlash(flash.files))
        run_cycle(ledger, 2, 2)
        deliver(ledger, cloud)
        assert break_of(cloud.values()) is None


def test_a_segment_that_could_not_be_read_for_a_while_does_not_take_the_chain_back():
    """EG-CHAIN-002"""
    flash = with_key()
    cloud = {}
    for boot in (3, 4):
        run_cycle(opened(flash, segment_bytes=50), boot, boot)
    flash.fail_reads = ("use.00000001",)
    deliver(opened(flash), cloud)
    flash.fail_reads = ()
    ledger = opened(flash)
    run_cycle(ledger, 5, 5)
    deliver(ledger, cloud)
    assert sorted(cloud) == [(3, 1), (4, 1), (5, 1)]
    assert break_of(cloud.values()) is None


def test_power_cut_at_every_operation_leaves_a_chain_without_a_break():
    """EG-CHAIN-002"""
    assert cut_everywhere(_live_through_cut) > 30


def _live_through_cut(mode, cut_at):
    files = with_key().files
    flash = FaultyFlash(files, cut_at=cut_at, mode=mode)
    cloud = {}
    try:
        _live(opened(flash, **SIZES), 3, cloud)
        struck = False
    except PowerCut:
        struck = True
    for boot in (5, 6):
        _live(opened(FaultyFlash(files), **SIZES), boot, cloud)
    assert break_of(cloud.values()) is None, (mode, cut_at)
    return struck


def _live(ledger, boot, cloud):
    for n in range(24):
        run_cycle(ledger, boot, n)
        if n in (1, 2, 12, 22):
            deliver(ledger, cloud)
    for _ in range(2):
        deliver(ledger, cloud)
        ledger.settle()
    assert ledger.pending == 0 and ledger.merged_cycles == 0
