"""`evergrow key` and `evergrow feature` from end to end, as a publisher types them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest

from evergrow_agent import trust
from evergrow_agent.board import Config, Identity
from evergrow_cloud import devices, offers, wire
from evergrow_cloud.store import Store
from evergrow_sim.world.broker import Broker
from evergrow_sim.world.broker_serve import BrokerServer
from evergrow_sim.world.cloud import CloudEnd
from evergrow_sim.world.device import WorldDevice
from evergrow_sim.world.world import World
from evergrow_tools import cli, feature_build, feature_cli, feature_files, keys, signing, suit_build

FEATURES = Path(feature_build.__file__).parents[2] / "firmware" / "features"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*args: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return call


@pytest.fixture
def signed(run: Run, tmp_path: Path) -> Path:
    """A folder with the key of `northwash` and its signed allergen-care."""
    assert run("key", "new", "northwash", "--publisher", 2, "--out", tmp_path, "--height", 5)[0] == 0
    assert run("feature", "build", FEATURES / "allergen-care", "-o", tmp_path / "a.suit")[0] == 0
    assert run("feature", "sign", tmp_path / "a.suit", "--key", tmp_path / "northwash.key")[0] == 0
    return tmp_path


def as_json(run: Run, *args: object) -> dict[str, Any]:
    code, out, _ = run(*args, "--json")
    assert code == 0
    value: dict[str, Any] = json.loads(out)
    return value


def test_build_sign_verify(run: Run, signed: Path) -> None:
    code, out, _ = run("feature", "verify", signed / "a.suit", "--key", signed / "northwash.pub")
    assert code == 0 and "good, by publisher 2 (northwash)" in out


@pytest.mark.parametrize(
    ("drives", "flash", "code", "text"),
    [
        ("inlet,drain,heater,drum_rpm,door_lock", 4096, 0, ""),
        ("inlet,drain,drum_rpm,door_lock", 4096, 10, "actuator 3 is not granted"),
        ("inlet,drain,heater,drum_rpm,door_lock", 100, 8, "beyond the publisher's quota"),
    ],
)
def test_a_feature_is_held_to_a_grant(run: Run, signed: Path, drives: str, flash: int, code: int, text: str) -> None:
    """EG-TRUST-006: as a device would, before it is pushed."""
    run("key", "new", "root", "--root", "--out", signed, "--height", 5)
    rights = ("--signals", "water_ml,temp,door_locked", "--actuators", drives, "--flash", flash)
    assert run("key", "grant", signed / "northwash.pub", "--root", signed / "root.key", *rights, "-o", signed / "g")[0] == 0
    verify = ("feature", "verify", signed / "a.suit", "--key", signed / "northwash.pub", "--grant", signed / "g", "--json")
    status, out, _ = run(*verify)
    found = json.loads(out)
    assert (status, found["ok"], found.get("code", 0)) == (int(bool(code)), not code, code)
    assert text in found.get("text", "")


def test_a_grant_of_another_key_or_no_grant_at_all_is_said(run: Run, signed: Path) -> None:
    for name, option in (("root", ("--root",)), ("other", ("--publisher", 2, "--prefix", "northwash"))):
        run("key", "new", name, *option, "--out", signed, "--height", 5)
    assert run("key", "grant", signed / "other.pub", "--root", signed / "root.key", "-o", signed / "g")[0] == 0
    verify = ("feature", "verify", signed / "a.suit", "--key", signed / "northwash.pub", "--grant")
    code, _, err = run(*verify, signed / "g")
    assert code == 1 and "code 10: the grant is for another key" in err
    for nothing in ("a.suit", "absent"):
        code, _, err = run(*verify, signed / nothing)
        assert code == 1 and "is no grant of" in err and "Traceback" not in err


def test_a_feature_that_a_device_would_refuse_fails_with_its_code(run: Run, signed: Path) -> None:
    run("key", "new", "other", "--publisher", 3, "--out", signed, "--height", 5)
    code, _, err = run("feature", "verify", signed / "a.suit", "--key", signed / "other.pub")
    assert code == 1 and "would be refused with code 10" in err and "Traceback" not in err
    payload = signed / "a.suit.1"
    payload.write_bytes(payload.read_bytes()[:-1] + b"\0")
    code, out, _ = run("feature", "verify", signed / "a.suit", "--key", signed / "northwash.pub", "--json")
    assert code == 1 and json.loads(out)["code"] == 14


def test_inspect_shows_manifest_signatures_and_body(run: Run, signed: Path) -> None:
    shown = as_json(run, "feature", "inspect", signed / "a.suit")
    assert shown["components"] == ["northwash/allergen-care"] and shown["sequence"] == 1
    assert shown["signatures"][0]["algorithm"] == "HSS-LMS"
    assert shown["features"][0]["kind"] == "programme"
    assert shown["commands"]["install"][1] == "fetch"
    code, out, _ = run("feature", "inspect", signed / "a.suit")
    assert code == 0 and "northwash/allergen-care" in out and "uri = evergrow:1" in out


def test_push_offers_the_feature_in_the_clouds_database(run: Run, signed: Path) -> None:
    database = signed / "cloud.db"
    Store(database).close()
    args = ("feature", "push", signed / "a.suit", "--cloud-db", database, "--tenant", "acme", "--device", "washer-1")
    transfer = as_json(run, *args)["transfer"]
    with Store(database) as store:
        stored = offers.get(store, transfer)
        assert stored is not None and (stored.tenant, stored.device, stored.open) == ("acme", "washer-1", True)


def test_push_can_wait_for_what_becomes_of_it(run: Run, signed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = signed / "cloud.db"
    with Store(database) as store:
        args = ("feature", "push", signed / "a.suit", "--cloud-db", database, "--tenant", "acme", "--device", "washer-1")
        code, _, err = run(*args, "--wait", 0.2)
        assert code == 1 and "not decided within 0.2 s" in err
        transfer = as_json(run, *args)["transfer"]
        report = cbor2.dumps([7, 1, [5], {0: transfer, 1: 10, 2: offers.REFUSED, 9: "no\x1b[2J"}])
        with store.transaction():
            offers.report(store, devices.find(store, "washer-1").id, wire.decode("feat", report), report)  # type: ignore[arg-type]
        ended = feature_cli._await_end(store, transfer, 5, quiet=False)
        assert ended is not None and ended.state == offers.REFUSED
        out = capsys.readouterr().out
        assert "refused, code 10 (not authorised): no" in out and "\x1b" not in out


def test_a_grant_for_a_feature_is_what_it_needs_and_no_more(run: Run, signed: Path) -> None:
    """EG-TRUST-006"""
    assert run("key", "new", "root", "--root", "--out", signed, "--height", 5)[0] == 0
    assert run("feature", "build", FEATURES / "load-sense", "-o", signed / "l.suit")[0] == 0
    granting = ("key", "grant", signed / "northwash.pub", "--root", signed / "root.key", "-o", signed / "g")
    one = as_json(run, *granting, "--for", signed / "a.suit")
    assert (one["signals"], one["meters"], one["heap_bytes"]) == (["water_ml", "temp", "door_locked"], [], 0)
    assert one["actuators"] == ["inlet", "drain", "heater", "drum_rpm"] and one["flash_bytes"] == 2048
    both = as_json(run, *granting, "--for", signed / "a.suit", "--for", signed / "l.suit", "--signals", "power_w")
    assert {*both["signals"]} == {"water_ml", "temp", "door_locked", "water_in_ml", "power_w"}
    assert (both["meters"], both["heap_bytes"]) == ([1010, 1011], 6144) and both["flash_bytes"] > 2048
    assert as_json(run, *granting)["flash_bytes"] == 16384
    code, _, err = run(*granting, "--for", signed / "absent.suit")
    assert code == 1 and "absent.suit" in err and "Traceback" not in err


def test_push_without_a_database_says_what_to_do(run: Run, signed: Path) -> None:
    absent = signed / "absent.db"
    code, _, err = run("feature", "push", signed / "a.suit", "--cloud-db", absent, "--tenant", "acme", "--device", "w")
    assert code == 1 and "there is no database" in err and not absent.exists()


def test_signing_spends_signatures_and_show_counts_them(run: Run, signed: Path) -> None:
    assert as_json(run, "key", "info", signed / "northwash.key")["signatures_left"] == 31
    shown = as_json(run, "key", "info", signed / "northwash.pub")
    assert shown["publisher"] == 2 and shown["signatures_left"] is None


def test_no_command_prints_the_secret(run: Run, signed: Path) -> None:
    secret = json.loads((signed / "northwash.key").read_text())["seed"]
    for args in (("key", "info", signed / "northwash.key"), ("feature", "inspect", signed / "a.suit")):
        code, out, err = run(*args)
        assert code == 0 and secret not in out + err


@pytest.mark.parametrize(
    "args",
    [
        ("key", "new", "northwash", "--publisher", "2", "--out", "."),
        ("key", "new", "x", "--publisher", "65536"),
        ("key", "new", "../x", "--publisher", "1"),
        ("key", "new", "x", "--publisher", "1", "--prefix", "North Wash"),
        ("key", "new", "x", "--publisher", "1", "--height", "6"),
        ("key", "info", "absent.pub"),
        ("key", "resume", "northwash.key", "--skip", "0"),
        ("key", "new", "northwash", "--publisher", "2", "--ed25519"),
        ("feature", "sign", "a.suit", "--key", "northwash.key", "--also", "northwash.key"),
        ("feature", "build", "absent"),
        ("feature", "sign", "absent.suit", "--key", "northwash.key"),
        ("feature", "sign", "a.suit", "--key", "a.suit"),
        ("feature", "inspect", "a.suit.1"),
        ("feature", "verify", "absent.suit", "--key", "northwash.pub"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, signed: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]) -> None:
    monkeypatch.chdir(signed)
    code, _, err = run(*args)
    assert code == 1 and err.startswith("evergrow: ") and err.count("\n") == 1


def test_building_a_patch_says_what_it_saves(run: Run, signed: Path) -> None:
    folder = signed / "two"
    folder.mkdir()
    text = (FEATURES / "allergen-care" / "feature.toml").read_text()
    (folder / "feature.toml").write_text(text.replace("sequence = 1", "sequence = 2").replace("nominal_s = ", "nominal_s = 1"))
    code, out, _ = run("feature", "build", folder, "-o", signed / "b.suit", "--delta-from", signed / "a.suit")
    assert code == 0 and "patch " in out and "saves " in out and (signed / "b.suit.2").exists()
    assert run("feature", "sign", signed / "b.suit", "--key", signed / "northwash.key")[0] == 0
    verify = ("feature", "verify", signed / "b.suit", "--key", signed / "northwash.pub")
    assert run(*verify, "--delta-from", signed / "a.suit")[0] == 0
    ways = as_json(run, "feature", "inspect", signed / "b.suit")["ways"]
    assert [way["uri"].partition("?")[0] for way in ways] == ["evergrow:2", "evergrow:1"]
    (signed / "b.suit.2").write_bytes(b"\x03\x00")
    assert run(*verify)[0] == 1


def test_a_second_signature_is_asked_for_by_the_cloud_and_passed_over_by_devices(run: Run, signed: Path) -> None:
    """EG-SUIT-008"""
    for name in ("second", "stranger"):
        assert run("key", "new", name, "--publisher", 2, "--prefix", "northwash", "--out", signed, "--ed25519")[0] == 0
    assert as_json(run, "key", "info", signed / "second.key")["alg"] == "Ed25519"
    run("feature", "build", FEATURES / "allergen-care", "-o", signed / "two.suit")
    keys = ("--key", signed / "northwash.key", "--also", signed / "second.key")
    assert run("feature", "sign", signed / "two.suit", *keys)[0] == 0
    shown = as_json(run, "feature", "inspect", signed / "two.suit")["signatures"]
    assert [one["algorithm"] for one in shown] == ["Ed25519", "HSS-LMS"]
    device = ("--key", signed / "northwash.pub")
    assert run("feature", "verify", signed / "two.suit", *device)[0] == 0
    assert run("feature", "verify", signed / "two.suit", *device, "--key", signed / "second.pub")[0] == 0
    for path, key in ((signed / "two.suit", "stranger.pub"), (signed / "a.suit", "second.pub")):
        code, out, _ = run("feature", "verify", path, *device, "--key", signed / key, "--json")
        assert code == 1 and json.loads(out)["code"] == 10
    # A device trusts no Ed25519 key: without the hash-based signature nothing helps.
    assert run("feature", "verify", signed / "two.suit", "--key", signed / "second.pub")[0] == 1
    database = signed / "cloud.db"
    Store(database).close()
    push = ("--cloud-db", database, "--tenant", "acme", "--device", "washer-1", "--require", signed / "second.pub")
    assert run("feature", "push", signed / "two.suit", *push)[0] == 0
    code, _, err = run("feature", "push", signed / "a.suit", *push)
    assert code == 1 and "is not offered, code 10" in err


def test_a_forged_second_signature_is_refused(run: Run, signed: Path) -> None:
    """EG-SUIT-008"""
    run("key", "new", "second", "--publisher", 2, "--prefix", "northwash", "--out", signed, "--ed25519")
    run("feature", "build", FEATURES / "allergen-care", "-o", signed / "two.suit")
    run("feature", "sign", signed / "two.suit", "--key", signed / "northwash.key", "--also", signed / "second.key")
    data = bytearray((signed / "two.suit").read_bytes())
    kid = bytes.fromhex(as_json(run, "key", "info", signed / "second.pub")["kid"])
    data[data.index(kid) + 20] ^= 1
    (signed / "two.suit").write_bytes(data)
    device = ("--key", signed / "northwash.pub")
    assert run("feature", "verify", signed / "two.suit", *device)[0] == 0
    assert run("feature", "verify", signed / "two.suit", *device, "--key", signed / "second.pub")[0] == 1


def test_a_copied_key_says_how_to_go_on(run: Run, signed: Path) -> None:
    state = signed / "northwash.state"
    old = state.read_bytes()
    run("feature", "build", FEATURES / "allergen-care", "-o", signed / "two.suit")
    sign = ("feature", "sign", signed / "two.suit", "--key", signed / "northwash.key")
    assert run(*sign)[0] == 0
    state.write_bytes(old)
    code, _, err = run(*sign)
    assert code == 1 and "evergrow key resume" in err and err.count("\n") == 1
    assert as_json(run, "key", "resume", signed / "northwash.key", "--skip", 3)["signatures_left"] == 27
    assert run(*sign)[0] == 0


def test_inspect_shows_the_rights_that_code_asks_for(run: Run, tmp_path: Path) -> None:
    run("feature", "build", FEATURES / "load-sense", "-o", tmp_path / "s.suit")
    shown = as_json(run, "feature", "inspect", tmp_path / "s.suit")
    assert [way["form"] for way in shown["ways"]] == ["byte code 6", "source"]
    for one in shown["features"]:
        assert one["rights"]["reads"] == ["water_ml", "water_in_ml"] and one["rights"]["drives"] == []
        assert one["rights"]["shortens_holds"] is True and one["rights"]["heap_bytes"] == 6144


def test_a_removal_is_built_signed_verified_and_shown(run: Run, signed: Path) -> None:
    """EG-SUIT-005"""
    described = as_json(run, "feature", "build", FEATURES / "allergen-care", "-o", signed / "gone.suit", "--remove")
    assert described["removes"] and described["ways"] == [] and "install" not in described["commands"]
    assert run("feature", "sign", signed / "gone.suit", "--key", signed / "northwash.key")[0] == 0
    code, out, _ = run("feature", "verify", signed / "gone.suit", "--key", signed / "northwash.pub")
    assert code == 0 and "good, by publisher 2" in out
    code, out, _ = run("feature", "inspect", signed / "gone.suit")
    assert code == 0 and "removes: True" in out


def test_a_feature_that_requires_another_says_so(run: Run, tmp_path: Path) -> None:
    """EG-SUIT-009"""
    folder = tmp_path / "f"
    folder.mkdir()
    source = (FEATURES / "allergen-care" / "feature.toml").read_text()
    for line, wrong in (
        ('"northwash/other" = "1"', "another publisher"),
        ('"evergrow" = "1"', "another publisher"),
        ('"evergrow/spin-1400" = 1', "not a version"),
        ('"evergrow/spin-1400" = "1.x"', "not a version"),
    ):
        (folder / "feature.toml").write_text(f"{source}\n[requires]\n{line}\n")
        code, _, err = run("feature", "build", folder, "-o", tmp_path / "f.suit")
        assert code == 1 and wrong in err, line
    (folder / "feature.toml").write_text(f'{source}\n[requires]\n"evergrow/spin-1400" = "1.2"\n')
    described = as_json(run, "feature", "build", folder, "-o", tmp_path / "f.suit")
    assert described["dependencies"] == ["evergrow/spin-1400"] and not described["removes"]
    assert len(described["ways"]) == 1


def test_a_feature_that_brings_another_has_it_inside_under_its_own_signature(run: Run, signed: Path, tmp_path: Path) -> None:
    """EG-SUIT-004, EG-SUIT-009"""
    folder = tmp_path / "f"
    folder.mkdir()
    source = (FEATURES / "allergen-care" / "feature.toml").read_text()
    spin = tmp_path / "spin.suit"
    assert run("key", "new", "evergrow", "--publisher", 1, "--out", tmp_path, "--height", 5)[0] == 0
    assert run("feature", "build", FEATURES / "spin-1400", "-o", spin)[0] == 0
    brings = '[brings]\n"evergrow/spin-1400" = "../spin.suit"\n'
    (folder / "feature.toml").write_text(f"{source}\n{brings}")
    code, _, err = run("feature", "build", folder, "-o", tmp_path / "f.suit")
    assert code == 1 and "not signed" in err
    assert run("feature", "sign", spin, "--key", tmp_path / "evergrow.key")[0] == 0
    for lines, wrong in (
        ('[brings]\n"evergrow/other" = "../spin.suit"\n', "is not evergrow/other"),
        ('[brings]\n"evergrow/spin-1400" = "../nothing.suit"\n', "cannot read"),
        ('[brings]\n"northwash/allergen-care" = "../a.suit"\n', "another publisher"),
        ('[brings]\n"evergrow/spin-1400" = 1\n', "and its .suit"),
        (f'{brings}[requires]\n"evergrow/spin-1400" = "1.0"\n', "each once"),
    ):
        (folder / "feature.toml").write_text(f"{source}\n{lines}")
        code, _, err = run("feature", "build", folder, "-o", tmp_path / "f.suit")
        assert code == 1 and wrong in err, lines
    ours = source.replace('"northwash"', '"other"')
    (folder / "feature.toml").write_text(f'{ours}\n[brings]\n"northwash/allergen-care" = "../a.suit"\n')
    code, _, err = run("feature", "build", folder, "-o", tmp_path / "f.suit")
    assert code == 1 and "beside the envelope" in err

    (folder / "feature.toml").write_text(f'{source}\n{brings}[requires]\n"third/thing" = "1.0"\n')
    described = as_json(run, "feature", "build", folder, "-o", tmp_path / "f.suit")
    assert described["dependencies"] == ["third/thing", "evergrow/spin-1400"]
    (folder / "feature.toml").write_text(f"{source}\n{brings}")
    described = as_json(run, "feature", "build", folder, "-o", tmp_path / "f.suit")
    assert described["dependencies"] == ["evergrow/spin-1400"] and len(described["ways"]) == 1
    assert [feature["name"] for feature in described["features"]] == ["allergen-care"]
    assert described["bytes"]["integrated"] == {"#evergrow/spin-1400": spin.stat().st_size}
    assert run("feature", "sign", tmp_path / "f.suit", "--key", signed / "northwash.key")[0] == 0
    code, out, _ = run("feature", "verify", tmp_path / "f.suit", "--key", signed / "northwash.pub")
    assert code == 0 and "good, by publisher 2 (northwash)" in out
    for here in (False, True):
        assert installed(tmp_path, here) == [(1, 1002), (2, 1001)]


def installed(folder: Path, spin_is_here: bool) -> list[tuple[int, int]]:
    """What is active on a washer in the world that trusts both publishers, once f.suit was confirmed."""
    built = feature_files.read(folder / "f.suit")
    keys_of = [signing.cose_key(keys.load_public(folder / f"{name}.pub")) for name in ("northwash", "evergrow")]
    with World(1) as world:
        broker = Broker(lambda: world.loop.now_ms)
        world.network.listen("broker", 1883, BrokerServer(broker, world.loop).accept)
        cloud = CloudEnd(world, "broker", 1883)
        ids = suit_build.vendor_id("evergrow.example"), suit_build.class_id("evergrow.example", "washer")
        identity = Identity("acme", "washer", "evergrow-w1", "0.1.0", *ids)
        device = WorldDevice(world, "washer", Config("broker", 1883), identity)
        trust.provision(device.flash, keys_of)
        world.loop.call_at_us(0, cloud.start)
        world.loop.call_at_us(1000, device.power_on)
        world.run(until_ms=30_000)
        if spin_is_here:
            cloud.offer("washer", feature_files.read(folder / "spin.suit").envelope, {})
            world.run(until_ms=60_000)
        cloud.offer("washer", built.envelope, dict(built.payloads))
        world.run(until_ms=120_000)
        assert device.boot is not None and device.boot.agent is not None
        return sorted((publisher, number) for publisher, number, _ in device.boot.agent.features.active())
