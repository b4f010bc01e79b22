"""`evergrow tap` beside real brokers: what passes is shown, filtered and recorded."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import aiomqtt
import pytest

from evergrow_cloud import link
from evergrow_protocol import traffic
from evergrow_tools.brokers import IotCore, free_port
from evergrow_tools.tap import Recorder, topic_filter

USAGE = bytes.fromhex("8401011a6b02d3bda30003010002190727")
BAD = bytes.fromhex("8401021a6b02d3bda3000301000220")
SAID = [
    ("eg1/acme/washer-1/up/usage", USAGE),
    ("eg1/acme/washer-2/up/usage", USAGE),
    ("eg1/acme/washer-1/dn/ack", bytes.fromhex("820101")),
    ("eg1/acme/washer-1/up/usage", BAD),
    ("eg1/acme/washer-1/up/unheard-of", b"\x80"),
]


def start(port: int, *options: str) -> "subprocess.Popen[str]":
    """A tap that listens already."""
    command = [sys.executable, "-c", "from evergrow_tools.cli import main; main()", "tap", "--broker", f"mqtt://127.0.0.1:{port}"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("evergrow: listening to eg1/")
    return process


def say(port: int) -> None:
    async def publish() -> None:
        async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            for topic, payload in SAID:
                await client.publish(topic, payload, qos=1)

    link.run(publish())


def test_everything_is_shown_and_flaws_are_marked(tmp_path: Path) -> None:
    with IotCore(tmp_path) as broker:
        process = start(broker.port, "--count", "5")
        say(broker.port)
        out, err = process.communicate(timeout=30)
    lines = out.splitlines()
    assert process.returncode == 0, err
    assert [line.split()[1:4] for line in lines[:3]] == [
        ["acme/washer-1", "↑", "usage"],
        ["acme/washer-2", "↑", "usage"],
        ["acme/washer-1", "↓", "ack"],
    ]
    assert "programme 3 quick, outcome 0 finished, duration_s 1831 s" in lines[0]
    assert lines[4] == "  ✗ byte 14: duration_s is -1, not 0..4294967295 (code 5, EG-ENC-007)"
    assert "EG-TOP-005" in lines[6]
    assert "\x1b" not in out, "no colours where no terminal is"


def test_filters_json_and_a_recording_that_validate_reads(tmp_path: Path) -> None:
    recording = tmp_path / "night.jsonl"
    with IotCore(tmp_path) as broker:
        process = start(
            broker.port, "--device", "washer-1", "--kind", "usage", "--json", "--record", str(recording), "--count", "2"
        )
        say(broker.port)
        out, _ = process.communicate(timeout=30)
    shown = [json.loads(line) for line in out.splitlines()]
    assert [(one["device"], one["kind"], [flaw["code"] for flaw in one["flaws"]]) for one in shown] == [
        ("washer-1", "up/usage", []),
        ("washer-1", "up/usage", [5]),
    ]
    assert shown[0]["message"]["body"] == {"programme": 3, "outcome": 0, "duration_s": 1831}
    recorded = [traffic.from_line(line) for line in recording.read_text().splitlines()]
    assert [(message.topic, message.payload) for message in recorded] == [SAID[0], SAID[3]]


async def test_a_recorder_has_all_that_passed_while_it_was_open(tmp_path: Path) -> None:
    with IotCore(tmp_path) as broker:
        recorder = Recorder(f"mqtt://127.0.0.1:{broker.port}", topic_filter("acme"), link.TlsOptions(), tmp_path / "all.jsonl")
        async with recorder, aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            for topic, payload in SAID:
                await client.publish(topic, payload, qos=1)
            async with asyncio.timeout(60):
                while recorder.count < len(SAID):
                    await asyncio.sleep(0)
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    assert [(message.topic, message.payload) for message in map(traffic.from_line, lines)] == SAID


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--broker", f"mqtt://127.0.0.1:{free_port()}"), 1, "evergrow: mqtt://127.0.0.1:"),
        (("--broker", "http://here"), 1, "evergrow: a broker URL is mqtt://"),
        (("--broker", "mqtt://127.0.0.1", "--device", "Washer"), 2, "evergrow: an id is made of a-z"),
        (("--broker", "mqtt://127.0.0.1", "--kind", "none"), 2, "evergrow: there is no kind 'none'"),
    ],
)
def test_a_wrong_call_is_a_sentence(capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: int, text: str) -> None:
    from evergrow_tools.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["tap", *options])
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith(text)
