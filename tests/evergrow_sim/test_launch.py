"""Devices started by a host program: the real agent, on MicroPython and on CPython, over a real broker."""

from collections.abc import Callable
from pathlib import Path

import pytest

from evergrow_protocol import registry_refrigerator as fridge
from evergrow_sim.launch import DeviceError, DeviceProcess, DeviceTask
from evergrow_tools.brokers import Mosquitto

QUICK = 3
COTTON = 1
Maker = Callable[..., DeviceProcess | DeviceTask]


async def test_a_device_boots_connects_runs_a_cycle_and_quits(make_device: Maker, mosquitto: Mosquitto) -> None:
    device = make_device(mosquitto.port)
    async with device:
        booted = await device.wait_for("booted")
        assert booted["boot"] == 1
        await device.wait_for("connected")
        device.command(f"start {QUICK}")
        await device.wait_for("started", programme=QUICK)
        ended = await device.wait_for("ended", timeout_s=60)
        assert (ended["outcome"], ended["error"]) == (0, 0)
        assert await device.stop() == 0
    stopped = device.events[-1]
    assert stopped["event"] == "stopped"
    assert stopped["missed"] == 0
    assert not any(stopped["crashes"].values())
    assert not device.output


async def test_a_device_takes_its_key_at_the_first_start_and_keeps_it_to_itself(
    make_device: Maker, unused_tcp_port: int
) -> None:
    """EG-KEY-001"""
    secret = "5a" * 32
    device = make_device(unused_tcp_port, device_key=secret)
    async with device:
        await device.wait_for("booted")
    assert secret not in str(list(device.events)) + str(list(device.output))
    if isinstance(device, DeviceTask):
        assert bytes.fromhex(secret) in (device.folder / "flash" / "key").read_bytes()
    else:
        assert (device.folder / "device.json").stat().st_mode & 0o77 == 0
        assert bytes.fromhex(secret) in (device.folder / "flash.img").read_bytes()


async def test_a_device_washes_without_a_broker(make_device: Maker, unused_tcp_port: int) -> None:
    """The base function of an appliance depends on no link."""
    async with make_device(unused_tcp_port) as device:
        await device.wait_for("booted")
        device.command(f"start {QUICK}")
        assert (await device.wait_for("ended", timeout_s=60))["outcome"] == 0
        assert not [event for event in device.events if event["event"] == "connected"]


async def test_a_power_cut_in_mid_cycle_is_a_new_boot_on_the_same_flash(make_device: Maker, mosquitto: Mosquitto) -> None:
    device = make_device(mosquitto.port)
    async with device:
        await device.wait_for("booted")
        device.command(f"start {COTTON}")
        await device.wait_for("phase", phase=3)
        await device.kill()
        assert device.events[-1]["event"] != "stopped"
        before = len(device.events)
        await device.start()
        assert (await device.wait_for("booted", since=before))["boot"] == 2
        await device.wait_for("connected", since=before)


async def test_what_a_person_asks_in_vain_is_refused_with_a_reason(make_device: Maker, mosquitto: Mosquitto) -> None:
    async with make_device(mosquitto.port) as device:
        await device.wait_for("booted")
        for line in ("start 4711", "start x", "dance", "look x", "speed 0", "speed nan"):
            before = len(device.events)
            device.command(line)
            assert (await device.wait_for("refused", since=before, command=line))["text"]


async def test_a_script_sent_at_once_runs_on_the_appliances_time(make_device: Maker, unused_tcp_port: int) -> None:
    """What a person does comes after the look before it, however slow the host program is to hear of it."""
    async with make_device(unused_tcp_port, appliance="refrigerator") as device:
        await device.wait_for("booted")
        for line in ("look 3", "door 0", "look 0", "look 2", "door 1", "look 4"):
            device.command(line)
        await device.wait_for("look", timeout_s=60, minutes=4)
        looks = [event for event in device.events if event["event"] == "look"]
    assert [look["minutes"] for look in looks] == [3, 0, 2, 4]
    assert [dict(look["signals"])[fridge.SIGNAL_DOOR_CLOSED] for look in looks] == [1, 0, 0, 1]


async def test_a_configuration_that_cannot_work_is_told(make_device: Maker) -> None:
    device = make_device(1883, host=None, keepalive_s=5)
    with pytest.raises(DeviceError, match="keepalive_s is 5"):
        async with device:
            await device.wait_for("booted")


async def test_a_device_that_does_not_run_takes_no_commands_and_can_be_started_once(
    make_device: Maker, unused_tcp_port: int
) -> None:
    device = make_device(unused_tcp_port)
    with pytest.raises(DeviceError, match="does not run"):
        device.command("heap")
    async with device:
        with pytest.raises(DeviceError, match="runs already"):
            await device.start()
        await device.wait_for("booted")
    with pytest.raises(DeviceError, match="ended before 'connected'"):
        await device.wait_for("connected")


async def test_the_heap_of_a_process_is_measured_with_its_largest_free_block(
    code: Path, tmp_path: Path, unused_tcp_port: int
) -> None:
    config = {"tenant": "acme", "device": "w1", "host": "127.0.0.1", "port": unused_tcp_port}
    async with DeviceProcess(config, tmp_path, code, heap="448K") as device:
        await device.wait_for("booted")
        device.command("heap")
        heap = await device.wait_for("heap")
    assert 400 * 1024 < heap["free"] + heap["allocated"] < 448 * 1024
    assert heap["free"] / 2 < heap["largest_free"] <= heap["free"]


async def test_a_heap_that_is_too_small_ends_the_process_and_the_error_says_so(code: Path, tmp_path: Path) -> None:
    device = DeviceProcess({"tenant": "acme", "device": "w1", "host": "127.0.0.1", "port": 1}, tmp_path, code, heap="64K")
    await device.start()
    with pytest.raises(DeviceError, match="its heap of 64K is too small"):
        await device.wait_for("booted")


async def test_a_device_whose_host_program_is_gone_quits(code: Path, tmp_path: Path, unused_tcp_port: int) -> None:
    config = {"tenant": "acme", "device": "w1", "host": "127.0.0.1", "port": unused_tcp_port}
    async with DeviceProcess(config, tmp_path, code, heap="448K") as device:
        await device.wait_for("booted")
        assert device._process is not None and device._process.stdin is not None
        device._process.stdin.close()
        await device.wait_for("stopped")
        await device.ended()
