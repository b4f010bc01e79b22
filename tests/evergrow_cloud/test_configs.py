"""Desired configurations: kept, sent until they are in force, and not in a loop."""

from pathlib import Path

import pytest

from evergrow_cloud import config_file, configs, devices, strict, wire
from evergrow_cloud.errors import CloudError
from evergrow_cloud.ingest import Incoming, Ingest
from evergrow_cloud.limits import Limits
from evergrow_cloud.store import Store
from evergrow_protocol import registry

NOW_S = 1_795_339_200
BIRTH = {0: 0, 1: 1, 2: 1, 3: "m", 4: "1", 5: ["m", "1", "x"], 6: [], 7: 1024, 8: 512, 9: 0}
VALUES = {2: 120}


class Talk:
    """A cloud and one device that says what the test wants."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ingest = Ingest(store, Limits())
        self.seq = 0

    def say(self, kind: str, body: object, retained: bool = False) -> bool:
        self.seq += 1
        payload = strict.dumps([7, self.seq, NOW_S + self.seq, body])
        return self.ingest.apply([Incoming(f"eg1/acme/w1/up/{kind}", payload, retained)], NOW_S).due

    def state(self, report: list[int] | None) -> bool:
        return self.say("state", {0: 1} if report is None else {0: 1, 7: report})

    def due(self) -> list[int]:
        """Versions to be sent now; they are sent."""
        found = configs.due(self.store, 10)
        for one in found:
            assert wire.strict.loads(one.message)[0] == one.version
            configs.sent(self.store, one.device_id, one.version)
        return [one.version for one in found]

    def put(self, values: dict[int, object]) -> int:
        with self.store.transaction():
            device_id = devices.ensure(self.store, "acme", "w1")
        return configs.put(self.store, device_id, values)

    def get(self) -> configs.Desired:
        found = configs.get(self.store, devices.find(self.store, "w1").id)
        assert found is not None
        return found


@pytest.fixture
def talk(store: Store) -> Talk:
    return Talk(store)


def test_it_is_sent_when_the_device_is_there_and_until_it_is_in_force(talk: Talk) -> None:
    """EG-CFG-008"""
    version = talk.put(VALUES)
    assert not talk.due()  # nobody is there
    talk.say("birth", BIRTH)
    assert talk.due() == [version] and not talk.due()
    assert talk.state([0, 0]) and talk.due() == [version]  # it was lost
    assert not talk.state([version, 0]) and not talk.due()
    assert talk.get().in_force
    talk.say("birth", BIRTH)
    assert not talk.due()
    assert talk.state([0, 0]) and talk.due() == [version]  # the device lost its flash


def test_what_was_refused_is_repeated_at_the_next_birth_and_not_before(talk: Talk) -> None:
    """EG-CFG-008"""
    talk.state([0, 0])
    version = talk.put(VALUES)
    assert talk.due() == [version]
    for _ in range(3):
        assert not talk.state([0, 8, version]) and not talk.due()
    found = talk.get()
    assert (found.applied, found.code, found.refused, found.in_force) == (0, 8, version, False)
    talk.say("birth", BIRTH)
    talk.state([0, 8, version])
    assert talk.due() == [version]
    later = talk.put({})
    assert later > version and talk.due() == [later]


def test_a_device_that_knows_no_configuration_gets_it_once_for_each_birth(talk: Talk) -> None:
    version = talk.put(VALUES)
    for _ in range(2):
        talk.say("birth", BIRTH)
        assert [talk.due(), talk.state(None), talk.due()] == [[version], False, []]


def test_versions_are_newer_than_those_of_a_lost_database(store: Store) -> None:
    """EG-CFG-003"""
    talk = Talk(store)
    first = talk.put(VALUES)
    assert first >= store.utc_s() and talk.put(VALUES) == first + 1


TEXT = """
keepalive_s = 120
home = "home-1"

[[telemetry]]
min_s = 5
max_s = 300
always = true
signals = { temp = 10, 1001 = 0 }

[[telemetry]]
min_s = 10
samples = 20
signals = { power_w = 0 }
"""


def test_a_file_with_names_becomes_what_is_sent_and_back() -> None:
    """EG-CFG-006"""
    names = registry.load()
    values = config_file.parse(TEXT, names)
    temp, power = (names.signals.by_name(name).id for name in ("temp", "power_w"))
    assert values == {1: [[5, 300, 1, {temp: 10, 1001: 0}], [10, 10, 0, {power: 0}, 20]], 2: 120, 3: "home-1"}
    told = config_file.describe(values | {9: 1}, names)
    assert told["telemetry"][0] == {
        "min_s": 5, "max_s": 300, "always": True, "samples": 10, "signals": {"temp": 10, "signal-1001": 0}
    }  # fmt: skip
    assert (told["keepalive_s"], told["home"], told["9"]) == (120, "home-1", 1)


@pytest.mark.parametrize(
    "text",
    ["keepalive_s = ", "keepalive = 5", 'keepalive_s = "5"', "telemetry = 5", "[[telemetry]]\nmin_s = 5",
     "[[telemetry]]\nmin_s = 5\nsignals = { nonsense = 1 }", "[[telemetry]]\nmin_s = true\nsignals = { temp = 1 }"],
)  # fmt: skip
def test_a_file_that_is_none_is_one_sentence(text: str) -> None:
    with pytest.raises(CloudError) as caught:
        config_file.parse(text, registry.load())
    assert "\n" not in str(caught.value)


def test_the_command_sets_and_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from typer.testing import CliRunner

    from evergrow_cloud.cli import app

    db, file = tmp_path / "cloud.db", tmp_path / "w.toml"
    file.write_text(TEXT)
    with Store(db):
        pass
    run = CliRunner()
    done = run.invoke(app, ["config", "set", "acme/w1", str(file), "--db", str(db), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    shown = run.invoke(app, ["config", "show", "w1", "--db", str(db), "--json"], catch_exceptions=False)
    told = json.loads(shown.stdout)
    assert told["version"] == json.loads(done.stdout)["version"] and told["in_force"] is False
    assert told["values"]["home"] == "home-1"
    assert run.invoke(app, ["config", "show", "w1", "--db", str(db)], catch_exceptions=False).exit_code == 0
    for bad in (["set", "acme/w1", str(tmp_path)], ["show", "w2"]):
        assert run.invoke(app, ["config", *bad, "--db", str(db)], catch_exceptions=False).exit_code == 1
