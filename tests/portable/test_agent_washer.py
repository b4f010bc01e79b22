"""The agent in a washer, from first boot to the record of a programme that came over the air; with power cuts on LittleFS2."""

from evergrow_protocol import registry_common as common
from evergrow_protocol.cbor import loads
from evergrow_sim import lfs
from evergrow_sim.publisher import Signer
from washerworld import FEATURE, QUICK, WARM_RINSE, WasherHome

HEAP = "8M"
CUTS = 18  # of some hundred operations; each is a story of half an hour, a second or two in real time
KINDS = (lfs.CUT_BEFORE, lfs.CUT_TORN, lfs.CUT_AFTER)


def check_truth(home):
    """What the cloud was told is what the washer did."""
    cloud, washer = home.cloud, home.washer
    assert home.agent.ledger.pending == 0
    assert home.started <= len(cloud.usage) <= home.started + home.interrupted, (sorted(cloud.usage), home.started)
    assert cloud.finished(QUICK) == cloud.finished(WARM_RINSE) == 1
    assert [tuple(row) for row in home.agent.features.active()] == [FEATURE]
    energy_wh = sum([body.get(common.USAGE_ENERGY_WH, 0) for body in cloud.usage.values()])
    water_ml = sum([body.get(common.USAGE_WATER_ML, 0) for body in cloud.usage.values()])
    assert energy_wh <= washer.energy_mj // 3600000 and water_ml <= washer.water_in_ul // 1000


def test_a_washers_whole_story_is_told():
    """EG-BIRTH-001, EG-CMD-002, EG-USE-005, EG-FEAT-009"""
    home = WasherHome()
    home.live()
    check_truth(home)
    assert sum(home.agent.crashes.values()) == 0, home.agent.last_crash
    kinds = [kind for _, kind, _ in home.cloud.messages]
    assert kinds[:3] == ["birth", "state", "sync"]
    for kind in ("rsp", "tele", "usage", "get", "feat"):
        assert kind in kinds, kind
    assert home.cloud.answers == {1: 0, 2: 0}
    assert home.cloud.installed[3] == list(FEATURE)
    first, second = [home.cloud.usage[key] for key in sorted(home.cloud.usage)]
    assert first[0] == QUICK and first[4] > 100 and first[5] > 10_000 and common.USAGE_FEATURES not in first
    assert 0 not in second and second[common.USAGE_FEATURES] == list(FEATURE[:2])
    batches = [loads(payload)[3][1] for _, kind, payload in home.cloud.messages if kind == "tele"]
    assert len(batches) > 20 and all(len(columns) == 4 for columns in batches)


def test_telemetry_never_takes_flash_that_usage_could_use():
    """EG-USE-008, EG-TELE-002: it is in RAM alone, so that there is nothing of it that could be in the way."""
    home = WasherHome()
    home.live()
    assert [kind for _, kind, _ in home.cloud.messages].count("tele") > 20
    known = ("boot.", "commands", "cycle", "feature", "trust", "use.", "f.")
    assert [name for name in home.flash.names() if not name.startswith(known)] == []


def test_a_power_cut_at_any_operation_of_littlefs_leaves_every_cycle_counted_once():
    """EG-USE-002, EG-USE-003, EG-ENV-003, EG-ACK-003, EG-FEAT-007; a sample of the operations, each kind of cut in turn."""
    if not lfs.AVAILABLE:
        return
    signer = Signer("acme", b"acme")
    whole = WasherHome(signer)
    before = whole.chip.ops
    whole.live()
    operations = whole.chip.ops - before
    assert operations > 100
    for number in range(CUTS):
        at = 1 + number * (operations - 1) // (CUTS - 1)
        home = WasherHome(signer)
        home.chip.cut(home.chip.ops + at, KINDS[number % len(KINDS)])
        try:
            home.live()
            raise AssertionError(f"operation {at} was not reached")
        except lfs.PowerCut:
            pass
        home.power_off()
        home.power_on()
        home.live()
        check_truth(home)
