"""`evergrow decode`, `encode` and `validate`: every vector, recorded traffic, and whatever else they are given."""

import io
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evergrow_protocol import message_json, message_reader, message_table, message_tree, message_words, registry, traffic
from evergrow_protocol.message_json import JsonError
from evergrow_protocol.traffic import Message, TrafficError
from evergrow_sim.world import run as world_run
from evergrow_tools import cli, decode_cli, grammar, message_view, validate_cli, vector_gen

TABLE = message_table.load()
REGISTRY = registry.load()
USAGE = "851902bc19012c1a6b02b3c0a602191c610384021903e9011903ea041903ad0519c8280619025a07190578482dbb9a5a130cf7e4"
BAD_USAGE = "841902bc19012c1a6b02b3c0a400010100020a0420"
ANY_BYTES = st.binary(max_size=64) | st.sampled_from([USAGE, BAD_USAGE]).map(bytes.fromhex).flatmap(
    lambda data: st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)).map(
        lambda change: data[: change[0]] + bytes([change[1]]) + data[change[0] + 1 :]
    )
)


def evergrow(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(args))
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def vectors() -> list[tuple[str, dict[str, Any]]]:
    files = sorted(vector_gen.FOLDER.glob("*.json"))
    return [(data["kind"], vector) for data in (json.loads(path.read_text()) for path in files) for vector in data["vectors"]]


# -- decode


def test_decode_annotates_each_item(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = evergrow(capsys, "decode", USAGE)
    assert (code, err) == (0, "")
    assert out.startswith(
        "up/usage  52 bytes, SPEC.md section 6\n  85                         envelope\n    1902bc                     boot"
    )
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "1a6b02b3c0 t 1795339200: 2026-11-22T09:20:00Z" in lines
    assert "06 19025a temp_max 602: 60.2 °C" in lines


def test_decode_tells_the_byte_the_rule_and_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = evergrow(capsys, "decode", "--kind", "usage", BAD_USAGE)
    assert code == 1
    assert "energy_wh -1 Wh" in " ".join(out.split()), "and shows what there is"
    assert err == "evergrow: byte 20: energy_wh is -1, not 0..4294967295 (code 5, EG-ENC-007)\n"


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("8418",), 1, "byte 0: truncated: 4 announced, and 1 bytes left (code 1, EG-ENC-001)"),
        (("82020a",), 1, "it can be dn/ack, "),
        (("8120",), 1, "it fits no kind: say which it should be with --kind."),
        (("zz",), 2, "'zz' is neither a file nor hex"),
        (("--kind", "event", "80"), 2, "event can be up/event, home/event: say which"),
        (("--kind", "up/none", "80"), 2, "no kind 'up/none'; there are up/birth"),
    ],
)
def test_decode_says_in_a_sentence_what_is_wrong(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], code: int, text: str
) -> None:
    found, out, err = evergrow(capsys, "decode", *args)
    assert (found, out) == (code, "")
    assert err.startswith(f"evergrow: {text}")


def test_decode_reads_lines_of_hex_topics_and_records_and_raw_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = traffic.to_line(Message("eg1/acme/w1/up/usage", bytes.fromhex(USAGE), 1795339200.5, 1, False))
    lines = f"{USAGE}\n\neg1/acme/w1/dn/offer 82020a\n{record}\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    code, out, _ = evergrow(capsys, "decode", "-", "--json")
    assert code == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["kind"] for one in found] == ["up/usage", "dn/offer", "up/usage"]
    assert found[1]["message"] == {"transfer": 2, "size": 10}
    raw = tmp_path / "payload.bin"
    raw.write_bytes(bytes.fromhex(USAGE))
    assert evergrow(capsys, "decode", str(raw))[1].startswith("up/usage  52 bytes")


def test_decode_names_the_line_of_a_file_that_is_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text(f"eg1/acme/w1/up/usage {USAGE}\neg1/ACME/w1/up/usage {USAGE}\neg1/acme/w1/up/none 80\n")
    code, out, err = evergrow(capsys, "decode", str(path))
    assert (code, out.count("up/usage eg1/acme")) == (1, 1)
    assert [line.partition(": topic")[0] for line in err.splitlines()] == [
        "evergrow: line 2: byte 0",
        "evergrow: line 3: byte 0",
    ]
    assert "EG-TOP-001" in err and "EG-TOP-005" in err


# -- encode


def test_encode_makes_again_what_decode_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, vector in vectors():
        if vector["expect"] != "invalid":
            _, printed, _ = evergrow(capsys, "decode", "--kind", kind, vector["hex"], "--json")
            monkeypatch.setattr(sys, "stdin", io.StringIO(printed))
            assert evergrow(capsys, "encode", "-") == (0, vector["hex"] + "\n", ""), (kind, vector["name"])


def test_encode_understands_diagnostic_notation(capsys: pytest.CaptureFixture[str]) -> None:
    assert evergrow(capsys, "encode", "--kind", "dn/cmd", "[7, 1, {0: 1001}]") == (0, "830701a1001903e9\n", "")


def test_encode_understands_the_registrys_names(capsys: pytest.CaptureFixture[str]) -> None:
    message = {"boot": 1, "seq": 1, "t": 1795339200, "body": {"dt_s": 10, "columns": {"temp": [602, 610]}}}
    code, out, _ = evergrow(capsys, "encode", "--kind", "up/tele", json.dumps(message))
    assert code == 0
    reading = message_reader.read(TABLE, TABLE.kinds["up/tele"], bytes.fromhex(out))
    assert message_json.to_json(reading)["body"]["columns"] == {"2": [602, 610]}


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("--kind", "dn/cmd", "[7, 1, {0: -1}]"), 1, "byte 5: programme is -1, not 0..4294967295 (code 5, EG-ENC-007)"),
        (("--kind", "dn/cmd", "[7, 1"), 1, "Invalid EDN in line 1"),
        (("--kind", "dn/ack", '{"boot": 1, "sequence": 2}'), 1, "the message: there is no place for 'sequence'"),
        (("--kind", "dn/ack", '{"boot": 1, "seq": 2, "later": "none"}'), 1, "later is a list, not 'none'"),
        (("--kind", "dn/ack", '{"boot": 1.5, "seq": 2}'), 1, "boot: not a value of type int: 1.5"),
        (("--kind", "up/none", "[1]"), 1, "no kind 'up/none'"),
        (("[7, 1, {}]",), 2, "--kind is missing"),
    ],
)
def test_encode_says_in_a_sentence_what_is_wrong(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], code: int, text: str
) -> None:
    found, out, err = evergrow(capsys, "encode", *args)
    assert (found, out) == (code, "")
    assert err.startswith(f"evergrow: {text}"), err


def test_encode_as_is_makes_what_is_forbidden(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = evergrow(capsys, "encode", "--kind", "dn/ack", "--as-is", "[7, 1.5]")
    assert (code, out) == (0, "8207f93e00\n")
    assert "EG-ENC-002" in err


# -- validate


def test_validate_judges_each_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    good = traffic.to_line(Message("eg1/acme/w1/up/usage", bytes.fromhex(USAGE)))
    path.write_text(good + "\n" + good + "\n")
    code, out, _ = evergrow(capsys, "validate", str(path))
    assert (code, out) == (0, "validate: 2 messages, all as SPEC.md and evergrow.cddl say (2 up/usage)\n")
    bad = traffic.to_line(Message("eg1/acme/w1/up/usage", bytes.fromhex(BAD_USAGE)))
    path.write_text(
        "\n".join([good, bad, "[]", '{"topic": "eg1/acme/w1/up/x", "payload": "80"}', '{"topic": "t", "payload": "8"}'])
    )
    code, out, _ = evergrow(capsys, "validate", str(path), "--json")
    report = json.loads(out)
    assert (code, report["messages"], report["kinds"]) == (1, 2, {"up/usage": 2})
    assert [flaw["where"].rpartition(":")[2] for flaw in report["flaws"]] == ["2", "3", "4", "5"]
    assert report["flaws"][0]["text"].startswith("up/usage of w1: byte 20: energy_wh is -1")


def test_validate_says_what_the_grammar_alone_finds() -> None:
    """Where table and grammar differ, one of them is wrong; they are generated from one source, but checked by two programs."""
    reading = message_reader.read(TABLE, TABLE.kinds["up/usage"], bytes.fromhex(USAGE))
    assert validate_cli.problems(reading, grammar.checker()) == []
    assert [flaw.rule for flaw in validate_cli.problems(reading, lambda rule, data: "no")] == ["EG-ENC-007"]


def test_validate_needs_files_and_a_grammar_that_can_be_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert evergrow(capsys, "validate", str(tmp_path / "none"))[2].startswith(f"evergrow: {tmp_path / 'none'} cannot be read")
    (tmp_path / "raw").write_bytes(b"\xff\xfe\xfd")
    assert "is not text" in evergrow(capsys, "validate", str(tmp_path / "raw"))[2]
    (tmp_path / "bad.cddl").write_text("a = ")
    code, _, err = evergrow(capsys, "validate", "--grammar", str(tmp_path / "bad.cddl"), str(tmp_path / "raw"))
    assert code == 1 and "is not CDDL" in err and "Traceback" not in err


def test_every_message_of_simulated_worlds_is_in_the_grammar() -> None:
    """EG-ENC-001, EG-ENC-007: whatever goes wrong there, what is said is well said."""
    check = grammar.checker()
    kinds = set()
    for seed in range(5):
        heard: list[Message] = []
        world_run.run(seed, "heavy", record=heard.append)
        for message in heard:
            reading = traffic.hear(TABLE, traffic.from_line(traffic.to_line(message))).reading
            if reading.kind.name == "dn/cfg" and {flaw.rule for flaw in reading.flaws} & {"EG-LIM-002", "EG-CFG-006"}:
                continue  # a bad configuration that the world's cloud sends on purpose (world/desires.py)
            assert validate_cli.problems(reading, check) == [], (seed, message.topic, message.payload.hex())
            kinds.add(reading.kind.name)
    assert {"up/birth", "up/state", "up/usage", "up/tele", "up/rsp", "up/feat", "dn/welcome", "dn/ack", "dn/cmd"} <= kinds


# -- whatever they are given


@given(ANY_BYTES)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_are_read_by_every_kind_without_a_crash(data: bytes) -> None:
    for kind in TABLE.kinds.values():
        reading = message_reader.read(TABLE, kind, data)
        assert all(0 <= flaw.at <= len(data) and flaw.rule.startswith("EG-") for flaw in reading.flaws)
        assert message_view.annotated(REGISTRY, reading).plain
        assert isinstance(message_view.one_line(REGISTRY, reading), str)
        if reading.ok:
            assert message_json.from_json(TABLE, REGISTRY, kind, message_json.to_json(reading)) == data
    with suppress(message_tree.Flaw, decode_cli.Ambiguous):
        decode_cli.guess(TABLE, data)


@given(st.text(max_size=40) | st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists).map(json.dumps))
def test_any_line_is_a_message_or_a_sentence(line: str) -> None:
    try:
        traffic.from_line(line)
    except TrafficError as error:
        assert str(error)


@given(
    st.sampled_from(sorted(TABLE.kinds)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["boot", "seq", "t", "body", "mono_ms", "hex", "1", "programme", "more"]), inner, max_size=5
            )
        ),
        max_leaves=12,
    ),
)
def test_any_json_is_bytes_or_a_sentence(kind: str, value: Any) -> None:
    try:
        data = message_json.from_json(TABLE, REGISTRY, TABLE.kinds[kind], value)
    except JsonError as error:
        assert str(error)
    else:
        message_reader.read(TABLE, TABLE.kinds[kind], data)


@given(st.binary(max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_the_commands_end_in_sentences_whatever_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(data)
    for command in (["decode"], ["validate"], ["encode", "--kind", "dn/ack"]):
        code, _, err = evergrow(capsys, *command, str(path))
        assert code in (0, 1, 2)
        assert "Traceback" not in err


def test_words_never_fail_on_numbers_that_nothing_names() -> None:
    data = bytes.fromhex("8401011b7fffffffffffffffa0")
    reading = message_reader.read(TABLE, TABLE.kinds["up/usage"], data)
    assert reading.root is not None
    assert message_words.text(REGISTRY, reading.root.children[2]) == str(2**63 - 1)
