"""The desired configuration: checked whole, kept, applied, reported."""

from agentworld import Cloud, Device
from evergrow_agent.settings import BYTES_MAX, Settings
from evergrow_protocol import varint
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import BAD_TYPE, MALFORMED, OUT_OF_RANGE, STALE, STORAGE, TOO_LARGE, UNSUPPORTED, ProtocolError
from faultyflash import FaultyFlash
from support import raises

HEAP = "1M"

GOOD = {1: [[5, 60, 1, {2: 10, 3: 0}], [10, 10, 0, {4: 0}, 20]], 2: 120, 3: "home-1"}


class Bench:
    def __init__(self, flash=None):
        self.flash = flash or FaultyFlash()
        self.boot()

    def boot(self):
        self.applied = []
        self.settings = Settings(self.flash)
        self.settings.apply = self.applied.append
        self.settings.load()

    def receive(self, version, values):
        self.settings.receive(dumps([version, values]))
        return self.settings.reported()


def test_a_configuration_is_applied_and_in_force_after_a_reboot():
    """EG-CFG-001, EG-CFG-002"""
    bench = Bench()
    assert bench.settings.reported() == [0, 0] and not bench.applied
    assert bench.receive(7, GOOD) == [7, 0]
    for _ in range(2):
        (sets,) = bench.applied
        assert [one.always for one in sets] == [True, False] and [one.columns.size for one in sets] == [2 * 10, 20]
        assert (bench.settings.keepalive_s, bench.settings.home) == (120, "home-1")
        bench.boot()
        assert bench.settings.reported() == [7, 0]


def test_what_is_not_said_is_the_devices_own():
    """EG-CFG-001: a configuration is the whole of it."""
    bench = Bench()
    bench.receive(7, GOOD)
    assert bench.receive(8, {}) == [8, 0]
    assert bench.applied[-1] is None and (bench.settings.keepalive_s, bench.settings.home) == (0, "")
    assert bench.receive(9, {1: []}) == [9, 0] and bench.applied[-1] == []


def test_the_same_again_changes_nothing_and_is_reported():
    """EG-CFG-003"""
    bench = Bench()
    bench.receive(7, GOOD)
    operations = bench.flash.ops
    assert bench.receive(7, GOOD) == [7, 0]
    assert len(bench.applied) == 1 and bench.flash.ops == operations
    bench.boot()
    assert bench.receive(7, GOOD) == [7, 0] and len(bench.applied) == 1


def test_an_older_version_and_another_content_of_the_same_are_stale():
    """EG-CFG-003"""
    bench = Bench()
    bench.receive(7, GOOD)
    assert bench.receive(6, {}) == [7, STALE, 6]
    assert bench.receive(7, {}) == [7, STALE, 7]
    assert bench.settings.home == "home-1" and len(bench.applied) == 1
    assert bench.receive(7, GOOD) == [7, 0]


def test_a_bad_configuration_changes_nothing_and_says_why():
    """EG-CFG-004, EG-CFG-005, EG-CFG-009"""
    bench = Bench()
    bench.receive(1, GOOD)
    one = [10, 10, 0, {4: 0}]
    for values, code in (
        ({-1: 0}, UNSUPPORTED),
        ([], BAD_TYPE),
        ({1: {}}, BAD_TYPE),
        ({1: [5]}, BAD_TYPE),
        ({1: [[5, 60, 1]]}, MALFORMED),
        ({1: [[0, 60, 1, {2: 0}]]}, OUT_OF_RANGE),
        ({1: [[60, 5, 1, {2: 0}]]}, OUT_OF_RANGE),
        ({1: [[5, 86_401, 1, {2: 0}]]}, OUT_OF_RANGE),
        ({1: [[5, 60, 2, {2: 0}]]}, OUT_OF_RANGE),
        ({1: [[5, 60, 1, {}]]}, MALFORMED),
        ({1: [[5, 60, 1, {-2: 0}]]}, UNSUPPORTED),
        ({1: [[5, 60, 1, {2: -1}]]}, OUT_OF_RANGE),
        ({1: [[5, 60, 1, {2: "1"}]]}, BAD_TYPE),
        ({1: [[5, 60, 1, {2: 0}, 0]]}, OUT_OF_RANGE),
        ({1: [[5, 60, 1, {2: 0}, 21]]}, TOO_LARGE),
        ({1: [one] * 5}, TOO_LARGE),
        ({1: [[5, 60, 1, {signal: 0 for signal in range(9)}]]}, TOO_LARGE),
        ({2: 29}, OUT_OF_RANGE),
        ({2: 481}, OUT_OF_RANGE),
        ({2: "60"}, BAD_TYPE),
        ({3: "Home"}, OUT_OF_RANGE),
        ({3: 5}, BAD_TYPE),
        ({4: {}}, BAD_TYPE),
        ({4: [7]}, BAD_TYPE),
        ({4: [[2, 1020]]}, MALFORMED),
        ({4: [[2, 1020, {1: 1}], [2, 1020, {1: 1}]]}, MALFORMED),
        ({4: [[2, 1000 + number, {}] for number in range(9)]}, TOO_LARGE),
        ({4: [[2, feature, {setting: 0 for setting in range(1, 12)}] for feature in (1020, 1021, 1022)]}, TOO_LARGE),
        ({4: [[65_536, 1020, {}]]}, OUT_OF_RANGE),
        ({4: [[2, 0, {}]]}, OUT_OF_RANGE),
        ({4: [[2, 1020, {0: 1}]]}, OUT_OF_RANGE),
        ({4: [[2, 1020, {1: -(1 << 31)}]]}, OUT_OF_RANGE),
        ({4: [[2, 1020, {1: "1"}]]}, BAD_TYPE),
        ({4: [[2, 1020, {-1: 1}]]}, UNSUPPORTED),
        ({9: b"x" * BYTES_MAX}, TOO_LARGE),
    ):
        assert bench.receive(2, values) == [1, code, 2], values
    assert len(bench.applied) == 1
    bench.boot()
    assert bench.settings.reported() == [1, 0]
    assert bench.receive(2, {77: "of a later version"}) == [2, 0]


def test_settings_of_features_are_kept_whether_these_are_there_or_not():
    """EG-CFG-009"""
    bench = Bench()
    values = {4: [[2, 1000 + number, {setting: 60 for setting in range(1, 5)}] for number in range(8)]}
    assert bench.receive(1, values) == [1, 0]
    for _ in range(2):
        assert len(bench.settings.features) == 8 and bench.settings.features[2, 1007] == {1: 60, 2: 60, 3: 60, 4: 60}
        bench.boot()
    assert bench.receive(2, {}) == [2, 0] and bench.settings.features == {}


def test_what_a_feature_that_runs_does_not_take_is_refused_and_changes_nothing():
    """EG-CFG-009, EG-CFG-004"""
    bench = Bench()

    def refuse(features):
        if (2, 1020) in features:
            raise ProtocolError(OUT_OF_RANGE, "setting 1 cannot be 7")

    bench.settings.check_features = refuse
    assert bench.receive(1, {2: 90, 4: [[2, 1021, {1: 7}]]}) == [1, 0]
    assert bench.receive(2, {2: 120, 4: [[2, 1020, {1: 7}]]}) == [1, OUT_OF_RANGE, 2]
    assert (bench.settings.keepalive_s, bench.settings.features) == (90, {(2, 1021): {1: 7}})


def test_without_a_version_nobody_can_be_told():
    """EG-CFG-002: it is dropped."""
    bench = Bench()
    for payload in (b"", dumps({}), dumps([0, {}]), dumps([1]), dumps(["1", {}]), dumps([1 << 32, {}])):
        raises(ProtocolError, bench.settings.receive, payload)
    assert bench.settings.reported() == [0, 0]


def test_a_flash_that_refuses_leaves_the_old_one_in_force():
    """EG-CFG-001"""
    bench = Bench()
    bench.receive(1, GOOD)
    bench.flash.fail = lambda n: True
    assert bench.receive(2, {}) == [1, STORAGE, 2]
    bench.flash.fail = lambda n: False
    assert bench.receive(2, {}) == [2, 0]


def test_what_cannot_be_read_is_asked_for_again():
    bench = Bench()
    bench.receive(1, GOOD)
    files = dict(bench.flash.files)
    bench.flash.files["config"] = files["config"][:-1]
    bench.boot()
    assert bench.settings.reported() == [0, 0] and not bench.applied
    assert bench.receive(1, GOOD) == [1, 0]


async def test_a_device_samples_as_its_cloud_desires_and_says_which_configuration_is_in_force():
    """EG-CFG-002, EG-CFG-006"""
    cloud = Cloud()
    flash = FaultyFlash()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        assert cloud.of("state")[-1][3][7] == [0, 0]
        cloud.down("cfg", [5, {1: [[1, 1, 1, {1: 0}, 3]], 2: 90}])
        await device.until(lambda: cloud.of("state")[-1][3][7] == [5, 0])
        await device.until(lambda: cloud.of("tele"))
        body = cloud.of("tele")[0][3]
        assert body[0] == 1 and len(varint.values(body[1][1])) == 3  # although no programme runs
        states = len(cloud.of("state"))
        cloud.down("cfg", [5, {1: [[1, 1, 1, {1: 0}, 3]], 2: 90}])
        cloud.down("cfg", [6, {-5: 0}])
        await device.until(lambda: len(cloud.of("state")) > states and cloud.of("state")[-1][3][7] == [5, UNSUPPORTED, 6])

    await Device(cloud, flash).live(story)
    del cloud.up[:]

    async def later(device):
        await device.until(lambda: cloud.of("tele"))
        assert cloud.of("state")[0][3][7] == [5, 0]
        assert device.agent.link._mqtt.keepalive_s == 90

    device = Device(cloud, FaultyFlash(flash.files))
    await device.live(later)
    assert sum(device.agent.crashes.values()) == 0, device.agent.last_crash


async def test_another_keepalive_holds_from_the_next_connect_on():
    """EG-CFG-007"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        cloud.down("cfg", [5, {2: 90}])
        await device.until(lambda: cloud.of("state")[-1][3][7] == [5, 0])
        assert device.agent.link._mqtt.keepalive_s == 60
        cloud._link.drop()
        await device.until(lambda: device.agent.link.connects == 2)
        assert device.agent.link._mqtt.keepalive_s == 90

    await Device(cloud).live(story)
