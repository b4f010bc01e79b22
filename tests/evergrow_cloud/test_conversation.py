"""Events, sayings and scenes at the cloud: stored once, dated, forgotten where people may ask for it, sent in time or never."""

import json
from pathlib import Path
from typing import Any

import aiomqtt
import cbor2
import pytest
from scripted_device import BIRTH, ONLINE, ScriptedDevice, envelope
from typer.testing import CliRunner

from evergrow_cloud import devices, events, scenes, voices, wire
from evergrow_cloud.cli import app
from evergrow_cloud.errors import WireError
from evergrow_cloud.ingest import Incoming, Ingest, Outcome
from evergrow_cloud.limits import Limits
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_protocol.errors import ProtocolError

NOW_S = 1_795_339_200
WORDS = "leiser bitte, meine Tochter schläft"


def take(service: Ingest, kind: str, body: Any, *, seq: int = 1, boot: int = 7, t: Any = None) -> Outcome:
    return service.apply([Incoming(f"eg1/acme/washer-1/up/{kind}", envelope(boot, seq, body, t))], NOW_S)


def answers(outcome: Outcome) -> list[tuple[str, Any]]:
    return [(item.topic.removeprefix("eg1/acme/washer-1/"), cbor2.loads(item.payload)) for item in outcome.outgoing]


@pytest.fixture
def service(store: Store) -> Ingest:
    return Ingest(store, Limits(events_per_device=5))


def of_washer(store: Store) -> list[events.Record]:
    return events.newest(store, devices.find(store, "washer-1").id)


def test_an_event_is_stored_once_and_dated_by_its_boot(service: Ingest, store: Store) -> None:
    """EG-EVT-005, EG-EVT-006"""
    for _ in range(2):
        take(service, "event", {0: 3, 1: 0, 2: 0}, t=[5000])
    (record,) = of_washer(store)
    assert (record.event.event, record.event.value, record.utc_s) == (3, 0, None)
    take(service, "sync", [65_000, NOW_S])
    (record,) = of_washer(store)
    assert (record.utc_s, record.time_source) == (NOW_S - 60, "sync")


def test_events_of_a_device_are_bounded(service: Ingest, store: Store) -> None:
    for seq in range(1, 129):
        take(service, "event", {0: 3, 1: 0}, seq=seq)
    assert [record.event.header.seq for record in of_washer(store)] == [124, 125, 126, 127, 128]


def test_the_state_says_which_alarms_are_raised(service: Ingest, store: Store) -> None:
    """EG-EVT-002: an event may be lost, the state is the truth."""
    take(service, "event", {0: 4, 1: 1})
    take(service, "state", ONLINE | {8: [4, 20]})
    state = devices.find(store, "washer-1").state
    assert state is not None and state.alarms == (4, 20)
    take(service, "state", ONLINE, seq=2)
    state = devices.find(store, "washer-1").state
    assert state is not None and state.alarms == ()


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("event", {1: 0}, 1),
        ("event", {0: 3}, 1),
        ("event", {0: 3, 1: 4}, 5),
        ("event", {0: 3, 1: 0, 2: "x"}, 4),
        ("event", {-1: 0, 0: 3, 1: 0}, 6),
        ("voice", {0: 1, 3: 0}, 5),
        ("voice", {0: 1, 3: 6}, 5),
        ("voice", {0: 3, 3: 1}, 5),
        ("voice", {0: 2}, 1),
        ("voice", {0: 2, 3: 1, 4: "ü" * 71}, 8),
        ("voice", {0: 2, 3: 1, 4: ""}, 5),
        ("voice", {0: 2, 1: [7], 3: 1}, 1),
        ("voice", {0: 2, 1: [7, 0], 3: 1}, 5),
    ],
)
def test_what_is_wrong_is_refused_with_its_code(kind: str, body: Any, code: int) -> None:
    """EG-VOICE-002, EG-ENC-004"""
    body = dict(sorted(body.items(), key=lambda item: cbor2.dumps(item[0])))
    with pytest.raises(WireError) as caught:
        wire.decode(kind, cbor2.dumps([7, 1, NOW_S, body]))
    assert caught.value.code == code


def test_a_saying_is_stored_once_and_heard_every_time(service: Ingest, store: Store) -> None:
    """EG-VOICE-005"""
    for _ in range(2):
        outcome = take(service, "voice", {0: 2, 1: [6, 9], 2: [2, 1001], 3: 1, 4: WORDS}, seq=3)
        assert answers(outcome) == [("dn/heard", [7, 3])]
    (saying,) = voices.newest(store)
    assert (saying.device, saying.text, saying.voice.usage, saying.voice.value) == ("acme/washer-1", WORDS, (6, 9), 1)
    assert saying.voice.feature == (2, 1001)


def test_texts_can_be_forgotten_without_anything_else(service: Ingest, store: Store, tmp_path: Path) -> None:
    """EG-VOICE-004: after that no byte of the text is in the database's rows."""
    take(service, "voice", {0: 2, 3: 1, 4: WORDS})
    take(service, "voice", {0: 1, 2: [2, 1001], 3: 4}, seq=2)
    assert voices.forget(store, devices.find(store, "washer-1").id) == 1
    first, second = voices.newest(store)
    assert (first.text, first.voice.value, second.voice.value) == (None, 1, 4)
    for (table,) in store.rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
        assert WORDS.encode() not in repr(store.rows(f"SELECT * FROM {table}")).encode()
        assert not [row for row in store.rows(f"SELECT * FROM {table}") for cell in row if cell in (WORDS, WORDS.encode())]


def test_opinions_are_per_publisher_and_feature(service: Ingest, store: Store) -> None:
    for seq, (feature, stars) in enumerate([([2, 1001], 5), ([2, 1001], 2), ([1, 1002], 3)], start=1):
        take(service, "voice", {0: 1, 2: feature, 3: stars}, seq=seq)
    take(service, "voice", {0: 2, 2: [2, 1001], 3: 1}, seq=9)
    assert voices.opinions(store) == [voices.Opinion(1, 1002, 1, 3.0), voices.Opinion(2, 1001, 2, 3.5)]


def test_a_scene_is_sent_in_time_or_never(store: Store, clock: Any) -> None:
    """EG-HOME-004"""
    number = scenes.set(store, "acme", "h1", 3)
    (due,) = scenes.due(store, 10)
    assert (due.id, due.topic, cbor2.loads(due.message)) == (number, "eg1/acme/home/h1/scene", [3, NOW_S])
    clock.utc_s += scenes.KEEP_S + 1
    assert scenes.due(store, 10) == []
    clock.utc_s -= 10
    scenes.sent(store, number)
    assert scenes.due(store, 10) == []
    with pytest.raises(ProtocolError):
        scenes.set(store, "acme", "H1", 3)


async def test_sayings_events_and_scenes_go_through_a_real_broker(broker_port: int, tmp_path: Path) -> None:
    """EG-VOICE-005, EG-HOME-001"""
    with Store(tmp_path / "cloud.db") as store:
        async with (
            Cloud(store, f"mqtt://127.0.0.1:{broker_port}") as cloud,
            aiomqtt.Client("127.0.0.1", broker_port, protocol=aiomqtt.ProtocolVersion.V5) as other,
        ):
            await cloud.connected()
            await other.subscribe("eg1/acme/home/h1/+", qos=1)
            async with ScriptedDevice(broker_port) as device:
                await device.say("birth", BIRTH, retain=True)
                await device.say("event", {0: 3, 1: 0})
                await device.say("voice", {0: 1, 3: 5})
                assert await device.hear("heard") == [7, 1]
            scenes.set(store, "acme", "h1", 2)
            async for message in other.messages:
                assert cbor2.loads(bytes(message.payload))[0] == 2
                break
        assert [record.event.event for record in of_washer(store)] == [3]


def test_people_read_events_and_sayings(service: Ingest, store: Store, tmp_path: Path) -> None:
    take(service, "event", {0: 4, 1: 1, 2: 7, 3: [2, 1001]})
    take(service, "voice", {0: 2, 2: [2, 1001], 3: 1, 4: "quiet\x1b[2J"})
    take(service, "voice", {0: 1, 2: [2, 1001], 3: 4}, seq=2)

    def run(*args: str) -> str:
        result = CliRunner().invoke(app, [*args, "--db", str(tmp_path / "cloud.db")], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    (event,) = json.loads(run("events", "washer-1", "--json"))
    assert (event["event"], event["what"], event["value"]) == ("fault", "raised", 7)
    assert "raised" in run("events", "washer-1")
    said = run("voice")
    assert "quieter" in said and "2/1001" in said and "\x1b" not in said
    shown = json.loads(run("voice", "--json"))
    assert shown["features"] == [{"publisher": 2, "feature": 1001, "ratings": 1, "mean": 4.0}]
    assert json.loads(run("voice", "--forget", "washer-1", "--json")) == {"forgotten": 1}
    assert json.loads(run("scene", "acme/h1", "night", "--json")) == {"tenant": "acme", "home": "h1", "scene": 3}
