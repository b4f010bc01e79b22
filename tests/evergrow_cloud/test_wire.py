"""Every kind of message: what is accepted, what is ignored, what is refused with which code."""

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrow_agent.columns import Columns, row
from evergrow_cloud import strict, wire, wire_down
from evergrow_cloud.errors import WireError
from evergrow_cloud.messages import (
    Birth,
    BlockRequest,
    Feature,
    FeatureReport,
    FeatureVersion,
    Header,
    Response,
    State,
    Sync,
    Telemetry,
)
from evergrow_protocol import errors as codes
from evergrow_protocol import messages, varint
from evergrow_protocol.cbor import Encoder
from evergrow_protocol.registry_common import USAGE_MERGED

BIRTH = {
    0: 0,
    1: 1,
    2: 1,
    3: "wm-8",
    4: "1.0.0",
    5: ["micropython", "1.28.0", "x"],
    6: [[1, 1001, 4]],
    7: 2048,
    8: 512,
    9: 3,
    10: 90,
}
USAGE = {0: 1, 1: 0, 2: 7265, 4: 941, 5: 51240, 6: 602, 7: 1000}
GOOD: dict[str, Any] = {
    "birth": BIRTH,
    "state": {0: 1, 1: 1, 2: 1, 3: 4, 4: 600, 5: True, 6: 0, 7: [8, 0]},
    "sync": [1500, 1_795_339_200],
    "usage": USAGE,
    "tele": {0: 10, 1: {1: bytes.fromhex("c8010a0d"), 2: bytes(3)}},
    "rsp": [9, 11],
    "get": [5, 1, 512, 8, b"\x05", 8],
    "feat": {0: 5, 1: 0, 2: 4, 3: [1, 1001, 4], 4: 1800, 5: 4, 6: 950, 7: 66, 8: 500},
}


def payload(kind: str, body: Any = None, **changes: Any) -> bytes:
    """A message of a kind; `changes`: k3=... sets key 3 of the body, `header`: its first three elements, `rest`: more behind."""
    body = GOOD[kind] if body is None else body
    keys = {int(name[1:].replace("_", "-")): value for name, value in changes.items() if name[0] == "k"}
    if keys:
        body = {key: value for key, value in (body | keys).items() if value is not ...}
    return strict.dumps([*changes.get("header", (7, 3, [1000])), body, *changes.get("rest", ())])


def refusal(kind: str, data: bytes) -> int:
    with pytest.raises(WireError) as caught:
        wire.decode(kind, data)
    return caught.value.code


def test_birth_says_what_the_device_is() -> None:
    birth = wire.decode("birth", payload("birth"))
    assert isinstance(birth, Birth)
    assert birth.header == Header(boot=7, seq=3, utc_s=None, mono_ms=1000)
    assert birth.interpreter == ("micropython", "1.28.0", "x")
    assert birth.features == (FeatureVersion(1, 1001, 4),)
    assert (birth.max_packet_bytes, birth.block_bytes, birth.heap_free_bytes) == (2048, 512, 90)
    assert birth.boot_is_random and birth.storage_fails and not birth.rights_damaged


def test_state_may_say_no_more_than_that_the_link_is_down() -> None:
    """EG-STATE-001"""
    state = wire.decode("state", payload("state", {0: 0}, header=(7, 0, [0])))
    assert state == State(Header(7, 0, None, 0), 0, None, None, None, None, None, None)


def test_remote_enable_is_a_boolean() -> None:
    state = wire.decode("state", payload("state", k5=True))
    assert isinstance(state, State) and state.remote_enable is True
    assert refusal("state", payload("state", k5=1)) == codes.BAD_TYPE
    assert refusal("state", payload("state", k5=[])) == codes.BAD_TYPE


def test_utc_and_time_since_boot_are_told_apart() -> None:
    """EG-TIME-003"""
    sync = wire.decode("sync", payload("sync", header=(7, 1, 1_795_339_200)))
    assert sync == Sync(Header(7, 1, 1_795_339_200, None), 1500, 1_795_339_200)


def test_a_doubtful_clock_says_so() -> None:
    """EG-TIME-004"""
    state = wire.decode("state", payload("state", header=(7, 1, [1500, 1_795_339_200, 1])))
    assert isinstance(state, State) and state.header == Header(7, 1, None, 1500, 1_795_339_200)
    assert refusal("state", payload("state", header=(7, 1, [1500, "now", 1]))) == codes.BAD_TYPE


def test_usage_keeps_the_bytes_that_came() -> None:
    """EG-USE-005"""
    data = payload("usage", k3=[1, 1001, 2, 1002], k12=5)
    (usage,) = wire.decode("usage", data)  # type: ignore[misc]
    assert usage.features == (Feature(1, 1001), Feature(2, 1002))
    assert (usage.energy_wh, usage.water_ml, usage.temp_max, usage.spin_max_rpm, usage.error) == (941, 51240, 602, 1000, None)
    assert usage.meters == {12: 5}
    assert usage.merged_cycles is None
    assert usage.raw == data


def test_a_bundle_is_told_apart_by_its_first_element() -> None:
    """EG-USE-004"""
    records = [payload("usage", header=(7, seq, [seq])) for seq in (1, 2, 3)]
    bundle = b"\x83" + b"".join(records)
    assert [usage.raw for usage in wire.decode("usage", bundle)] == records  # type: ignore[union-attr]
    assert refusal("usage", b"\x80") == codes.MALFORMED


def test_one_bad_record_refuses_the_bundle() -> None:
    """EG-ENC-004"""
    bundle = b"\x82" + payload("usage") + payload("usage", k4=-1)
    assert refusal("usage", bundle) == codes.OUT_OF_RANGE


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("feffffff0f", (2**31 - 1,)),
        ("ffffffff0f", (-(2**31),)),
        ("feffffff0ffdffffff1ffeffffff1f", (2**31 - 1, -(2**31), 2**31 - 1)),
        ("feffffff0f02", None),
        ("8080808010", None),
        ("ffffffff0f01", None),
        ("ffffffff7fffffffff7f", None),
    ],
)
def test_a_sample_has_32_bits_with_its_sign(column: str, values: tuple[int, ...] | None) -> None:
    """EG-TELE-008"""
    data = strict.dumps([7, 1, 0, {0: 1, 1: {2: bytes.fromhex(column)}}])
    if values:
        assert wire.decode("tele", data).columns == {2: values}  # type: ignore[union-attr]
        return
    with pytest.raises(WireError) as caught:
        wire.decode("tele", data)
    assert caught.value.code == codes.OUT_OF_RANGE


def test_telemetry_columns_are_summed() -> None:
    """EG-TELE-001"""
    tele = wire.decode("tele", payload("tele"))
    assert isinstance(tele, Telemetry)
    assert tele.columns == {1: (100, 105, 98), 2: (0, 0, 0)}
    example = bytes.fromhex("8407011a6b02b3c0a2000a01a20245 90030a0a030344005a0000")
    assert wire.decode("tele", example).columns == {2: (200, 205, 210, 208), 3: (0, 45, 45, 45)}  # type: ignore[union-attr]
    assert (tele.dt_s, tele.offsets_s, tele.lost) == (10, (0, 10, 20), 0)


def test_telemetry_on_change_says_when_and_what_was_lost() -> None:
    """EG-TELE-004 EG-TELE-005"""
    tele = wire.decode("tele", payload("tele", k0=..., k2=bytes.fromhex("0005ac02"), k3=7))
    assert isinstance(tele, Telemetry)
    assert (tele.dt_s, tele.offsets_s, tele.lost) == (None, (0, 5, 305), 7)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=20))
def test_the_cloud_reads_the_columns_that_the_device_writes(values: list[int]) -> None:
    """EG-TELE-003"""
    columns, sample = Columns([5, 1000], 20, 10), row(2)
    for value in values:
        columns.silent = 0
        sample[0], sample[1] = value, values[0]
        columns.add(sample)
    buf = bytearray(400)
    size = columns.write(buf, 0, 3)
    body = cbor2.loads(buf[:size])
    assert strict.dumps(body) == buf[:size]
    tele = wire.decode("tele", payload("tele", body))
    assert isinstance(tele, Telemetry)
    assert tele.columns == {5: tuple(values), 1000: (values[0],) * len(values)} and tele.lost == 3
    assert varint.values(body[1][5])[0] == values[0]


def test_a_response_may_carry_a_result() -> None:
    assert wire.decode("rsp", payload("rsp", [9, 0, {0: "x"}])) == Response(Header(7, 3, None, 1000), 9, 0, {0: "x"})


def test_wanted_blocks_are_bits_from_the_least_significant() -> None:
    """EG-ACK-001"""
    request = wire.decode("get", payload("get", [5, 1, 512, 8, b"\x05\x80"]))
    assert request == BlockRequest(Header(7, 3, None, 1000), 5, 1, 512, 8, (0, 2, 15), 1)
    assert wire.decode("get", payload("get", GOOD["get"])).run == 8  # type: ignore[attr-defined]


def test_a_feature_report_may_be_short() -> None:
    """EG-FEAT-009"""
    report = wire.decode("feat", payload("feat", {0: 5, 1: 10, 2: 6, 9: "unknown key"}))
    assert isinstance(report, FeatureReport)
    assert (report.code, report.state, report.feature, report.text) == (10, 6, None, "unknown key")


@pytest.mark.parametrize("kind", GOOD)
def test_what_a_newer_device_adds_is_ignored(kind: str) -> None:
    """EG-ENC-003 EG-ENC-006 EG-ENV-004"""
    body = GOOD[kind] | {99: [1, {2: b"3"}]} if isinstance(GOOD[kind], dict) else [*GOOD[kind], "more"]
    if kind == "rsp":
        body = [9, 11, None, "more"]
    newer = wire.decode(kind, payload(kind, body, header=(7, 3, [1000, 5, 1, "more"]), rest=[{5: "ext"}, "more"]))
    known = wire.decode(kind, payload(kind, header=(7, 3, [1000, 5, 1])))
    if kind == "usage":
        assert newer[0].features == known[0].features  # type: ignore[index]
    else:
        assert newer == known


@pytest.mark.parametrize("kind", [kind for kind in GOOD if isinstance(GOOD[kind], dict)])
def test_an_unknown_critical_key_is_refused(kind: str) -> None:
    """EG-ENC-003, EG-ENV-004: in the body and in `ext`."""
    assert refusal(kind, payload(kind, GOOD[kind] | {-1: 0})) == codes.UNSUPPORTED
    assert refusal(kind, payload(kind, rest=[{-3: 0}])) == codes.UNSUPPORTED


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("sync", strict.dumps({}), codes.BAD_TYPE),
        ("sync", strict.dumps([7, 3, [1]]), codes.MALFORMED),
        ("sync", payload("sync", header=(0, 1, 5)), codes.OUT_OF_RANGE),  # EG-ENV-001
        ("sync", payload("sync", header=(True, 1, 5)), codes.BAD_TYPE),
        ("sync", payload("sync", header=(7, 2**32, 5)), codes.OUT_OF_RANGE),  # EG-ENV-002
        ("sync", payload("sync", header=(7, 1, -5)), codes.OUT_OF_RANGE),
        ("sync", payload("sync", header=(7, 1, [])), codes.MALFORMED),
        ("sync", payload("sync", header=(7, 1, "now")), codes.BAD_TYPE),
        ("sync", payload("sync", [5]), codes.MALFORMED),
        ("birth", payload("birth", k7=...), codes.MALFORMED),
        ("birth", payload("birth", k7=65_537), codes.OUT_OF_RANGE),  # EG-LIM-001
        ("birth", payload("birth", k3="m" * 129), codes.TOO_LARGE),
        ("birth", payload("birth", k3=b"m"), codes.BAD_TYPE),
        ("birth", payload("birth", k6=[[1, 1001]]), codes.MALFORMED),
        ("birth", payload("birth", k6=[[1, 1001, 1]] * 257), codes.TOO_LARGE),
        ("usage", payload("usage", header=(7, 0, 5)), codes.OUT_OF_RANGE),
        ("usage", payload("usage", k0=...), codes.MALFORMED),
        ("usage", payload("usage", k4=2**32), codes.OUT_OF_RANGE),
        ("usage", payload("usage", k4="941"), codes.BAD_TYPE),
        ("usage", payload("usage", k3=[[1]]), codes.MALFORMED),
        ("usage", payload("usage", []), codes.BAD_TYPE),
        ("rsp", payload("rsp", [2**32, 0]), codes.OUT_OF_RANGE),
        ("get", payload("get", [5, 1, 0, 0, b"\x01"]), codes.OUT_OF_RANGE),
        ("get", payload("get", [5, 1, 512, 0, 1]), codes.BAD_TYPE),
        ("get", payload("get", [5, 1, 512, 0, bytes(129)]), codes.TOO_LARGE),
        ("state", payload("state", k7=[1]), codes.MALFORMED),
        ("state", payload("state", k7=7), codes.BAD_TYPE),
        ("state", payload("state", k7=[1, -1]), codes.OUT_OF_RANGE),
        ("tele", payload("tele", k1={n: b"0" for n in range(65)}), codes.TOO_LARGE),
        ("tele", payload("tele", k1={1: bytes(4097)}), codes.TOO_LARGE),
        ("tele", payload("tele", k1={-1: b"0"}), codes.UNSUPPORTED),
        ("tele", payload("tele", k1={}), codes.MALFORMED),
        ("tele", payload("tele", k1={1: b""}), codes.MALFORMED),
        ("tele", payload("tele", k1={1: b"\x80"}), codes.MALFORMED),
        ("tele", payload("tele", k1={1: b"\x80\x00"}), codes.MALFORMED),
        ("tele", payload("tele", k1={1: b"\xff\xff\xff\xff\xff\x01"}), codes.MALFORMED),
        ("tele", payload("tele", k1={1: [0]}), codes.BAD_TYPE),
        ("tele", payload("tele", k1={1: b"00", 2: b"0"}), codes.OUT_OF_RANGE),
        ("tele", payload("tele", k0=0), codes.OUT_OF_RANGE),
        ("tele", payload("tele", k0=...), codes.MALFORMED),
        ("tele", payload("tele", k2=bytes(3)), codes.MALFORMED),
        ("tele", payload("tele", k0=..., k2=bytes(2)), codes.OUT_OF_RANGE),
        ("tele", payload("tele", k0=..., k2=b"\x02\x02\x02"), codes.OUT_OF_RANGE),
        ("tele", payload("tele", k3=-1), codes.OUT_OF_RANGE),
        ("feat", payload("feat", k9="t" * 129), codes.TOO_LARGE),
        ("nonsense", payload("sync"), codes.UNKNOWN_KIND),  # EG-TOP-005
    ],
)
def test_bad_messages_have_their_codes(kind: str, data: bytes, code: int) -> None:
    """EG-ENC-004 EG-ENC-005"""
    assert refusal(kind, data) == code


hostile_integers = st.integers(-strict.MAX_INT - 1, strict.MAX_INT) | st.integers(-3, 30)
hostile_items = st.recursive(
    st.none() | st.booleans() | hostile_integers | st.binary(max_size=8) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.integers(-2, 12), inner, max_size=12),
    max_leaves=30,
)
hostile_messages = st.one_of(
    hostile_items,
    st.tuples(hostile_integers, hostile_integers, hostile_items, hostile_items).map(list),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.just([5]), hostile_items).map(list),
)


@given(st.sampled_from(list(GOOD)), hostile_messages)
def test_any_item_is_a_message_or_a_typed_error(kind: str, item: Any) -> None:
    """EG-ENC-004"""
    try:
        wire.decode(kind, strict.dumps(item))
    except WireError as error:
        assert 1 <= error.code <= 8


@given(st.sampled_from(list(GOOD)), st.data())
def test_any_damage_is_a_message_or_a_typed_error(kind: str, data: st.DataObject) -> None:
    """EG-ENC-004"""
    damaged = bytearray(payload(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        wire.decode(kind, bytes(damaged))
    except WireError as error:
        assert 1 <= error.code <= 8


@given(st.sets(st.integers(0, 300)))
def test_bitmaps_are_sets_of_offsets(offsets: set[int]) -> None:
    bitmap = wire.to_bitmap(offsets)
    assert set(wire.from_bitmap(bitmap)) == offsets
    assert not bitmap.endswith(b"\0")


def test_what_the_cloud_sends_is_what_the_specification_shows() -> None:
    """EG-ENC-001"""
    assert cbor2.loads(wire_down.welcome(7, 1, 1_795_339_200)) == [7, 1, 1_795_339_200]
    assert wire_down.ack(7, 3).hex() == "820703"
    assert wire_down.ack(7, 3, b"\x02").hex() == "8307034102"
    assert cbor2.loads(wire_down.command(1, 2, {})) == [1, 2, {}]
    assert cbor2.loads(wire_down.command(1, 1, {0: 3}, 99)) == [1, 1, {0: 3}, 99]
    assert cbor2.loads(wire_down.offer(5, 3000)) == [5, 3000]
    assert cbor2.loads(wire_down.block(5, 0, 2, b"abc")) == [5, 0, 2, b"abc"]


# The device's own codec is the other implementation: each must read what the other writes.


def from_device(body: Any, t: Any = 1_795_339_200) -> bytes:
    return bytes(messages.encode(Encoder(bytearray(4096)), 700, 300, t, body))


def test_the_cloud_reads_what_the_device_writes() -> None:
    birth = messages.birth(1, 1, "wm-8", "1.0.0", ["micropython", "1.28.0", "x"], [(1, 1001, 4)], 2048, 512, 1, 90_000)
    found = wire.decode("birth", from_device(birth, [1234]))
    assert isinstance(found, Birth)
    assert (found.header, found.model, found.heap_free_bytes) == (Header(700, 300, None, 1234), "wm-8", 90_000)
    for state in (messages.state(0), messages.state(1, 1, 1, 4, 600, True, 0), messages.state(1, config=[5, 8, 6])):
        assert isinstance(wire.decode("state", from_device(state)), State)
    (usage,) = wire.decode("usage", from_device({key: value for key, value in USAGE.items() if key} | {USAGE_MERGED: 3}))  # type: ignore[misc]
    assert usage.merged_cycles == 3
    assert wire.decode("rsp", from_device(messages.command_result(9, 0, {0: 1}))).result == {0: 1}  # type: ignore[union-attr]


def test_the_device_reads_what_the_cloud_writes() -> None:
    assert messages.parse_welcome(wire_down.welcome(7, 1, 1_795_339_200)) == (7, 1, 1_795_339_200, {})
    assert messages.parse_welcome(wire_down.welcome(7, 1, 1_795_339_200, (9, 60))) == (7, 1, 1_795_339_200, {1: (9, 60)})
    assert messages.parse_busy(wire_down.busy(2, 60)) == (2, 60)
    assert messages.parse_ack(wire_down.ack(7, 3)) == (7, 3, b"")
    boot, seq, bitmap = messages.parse_ack(wire_down.ack(7, 3, b"\x02"))
    assert (boot, seq, bytes(bitmap)) == (7, 3, b"\x02")
    number, fields = messages.parse_command(wire_down.command(2**32 - 1, 1, {0: 3}, 1_795_339_200))
    assert (number, *messages.command_fields(fields)) == (2**32 - 1, 1, {0: 3}, 1_795_339_200)
    assert messages.parse_config(wire_down.config(7, {2: 60})) == (7, {2: 60})
    assert messages.parse_offer(wire_down.offer(1_795_339_200, 16_384)) == (1_795_339_200, 16_384, 0)
    assert messages.parse_offer(wire_down.offer(6, 2680, messages.CONTENT_GRANT)) == (6, 2680, 1)
    assert bytes(messages.parse_entitlement(wire_down.entitlement(b"abc"))) == b"abc"
    transfer, item, block, data = messages.parse_block(wire_down.block(5, 1, 2, b"abc"))
    assert (transfer, item, block, bytes(data)) == (5, 1, 2, b"abc")
