"""The running cloud, on real brokers, with devices that a test scripts."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from scripted_device import BIRTH, ScriptedDevice, envelope, usage_body

from evergrow_cloud import commands, devices, link, offers, usage
from evergrow_cloud.errors import BrokerError, CommandTimeout, UnknownDevice
from evergrow_cloud.limits import Limits
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_tools.brokers import BrokerTls, IotCore, Mosquitto

BODY = bytes(range(256)) * 5

MakeCloud = Callable[..., AbstractAsyncContextManager[Cloud]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud.db"


@pytest.fixture
def running(path: Path) -> MakeCloud:
    """`async with running(port) as cloud:` a connected cloud on the test's database."""

    @asynccontextmanager
    async def run(port: int, **options: Any) -> AsyncIterator[Cloud]:
        with Store(path) as store:
            async with Cloud(store, f"mqtt://127.0.0.1:{port}", **options) as cloud:
                await cloud.connected()
                yield cloud

    return run


async def pull(device: ScriptedDevice, transfer: int, payload: int, size: int, block_bytes: int = 512) -> bytes:
    """Fetch a payload as a device does, asking again for what is missing (EG-FEAT-010)."""
    count = -(-size // block_bytes)
    blocks: dict[int, bytes] = {}
    while len(blocks) < count:
        wanted = sum(1 << number for number in range(count) if number not in blocks)
        await device.say("get", [transfer, payload, block_bytes, 0, wanted.to_bytes((count + 7) // 8, "little")])
        while len(blocks) < count:
            got = await device.hear("block")
            if got[:2] == [transfer, payload]:
                blocks[got[2]] = got[3]
    return b"".join(blocks[number] for number in range(count))


async def test_a_device_is_welcomed_counted_and_served(running: MakeCloud, broker_port: int, path: Path) -> None:
    """EG-BIRTH-002 EG-ACK-001 EG-FEAT-009"""
    async with running(broker_port) as cloud, ScriptedDevice(broker_port) as device:
        boot, seq, utc_s, _ = await device.be_born()
        assert (boot, seq) == (7, 1) and utc_s > 1_700_000_000
        await device.say("sync", [1000, utc_s])
        await device.say("tele", {0: 10, 1: {1: b"\x0a\x02"}})
        for _ in range(3):
            await device.say("usage", usage_body(features=[[1, 1001]]))
        await device.hear_ack(1, 2, 3)

        transfer = await cloud.offer("washer-1", b"envelope", {1: BODY})
        assert await device.hear("offer") == [transfer, len(b"envelope")]
        assert await pull(device, transfer, 0, 8) == b"envelope"
        assert await pull(device, transfer, 1, len(BODY)) == BODY

        answer = asyncio.create_task(cloud.command("acme/washer-1", commands.START, {0: 3}))
        number, command, args = await device.hear("cmd")
        assert (command, args) == (commands.START, {0: 3})
        await device.say("feat", {0: transfer, 1: 0, 2: offers.CONFIRMED, 3: [1, 1001, 4], 4: len(BODY), 5: 3})
        await device.say("rsp", [number, 11, {0: 1}])
        assert await answer == (11, {0: 1})
    with Store(path) as store:
        assert usage.totals(store).cycles == 3
        assert [share.cycles for share in usage.ledger(store)] == [3]
        assert [record.utc_s for record in usage.records(store, 1)] == [utc_s] * 3
        found = offers.get(store, transfer)
        assert found is not None and (found.open, found.state) == (False, offers.CONFIRMED)
        birth = devices.find(store, "washer-1").birth
        assert birth is not None and birth.interpreter[0] == "micropython"


async def test_records_in_any_order_and_repeated_are_acked_and_counted_once(
    running: MakeCloud, broker_port: int, path: Path
) -> None:
    """EG-ACK-001 EG-ACK-002 EG-ACK-003 EG-USE-004"""
    records = {seq: envelope(7, seq, usage_body(energy_wh=seq)) for seq in range(1, 9)}
    async with running(broker_port), ScriptedDevice(broker_port) as device:
        for seq in (8, 2, 2, 5, 1, 8):
            await device.publish("usage", records[seq])
        ack = await device.hear_ack(1, 2, 5, 8)
        assert ack == [7, 2, b"\x24"]
        await device.publish("usage", b"\x85" + b"".join(records[seq] for seq in (7, 6, 4, 3, 1)))
        assert (await device.hear_ack(*records))[:2] == [7, 8]
        await device.publish("usage", records[1])
        assert (await device.hear_ack(*records))[:2] == [7, 8]
    with Store(path) as store:
        assert usage.totals(store).energy_wh == sum(records)


async def test_garbage_does_not_stop_the_cloud(running: MakeCloud, broker_port: int, path: Path) -> None:
    """EG-ENC-004 EG-TOP-005"""
    async with running(broker_port), ScriptedDevice(broker_port) as device:
        for kind in ("birth", "state", "sync", "usage", "tele", "rsp", "get", "feat", "unheard-of"):
            for payload in (b"", b"\xff", b"\x81" * 500, b"\x9b" + b"\x7f" * 8, bytes(20_000), b"\xd8\x1c\x81\xd8\x1d\x00"):
                await device.publish(kind, payload)
        await device.say("usage", usage_body())
        await device.hear_ack(1)
        assert device.unheard("welcome") == 0


async def test_open_offers_are_repeated_after_birth(running: MakeCloud, mosquitto: Mosquitto) -> None:
    """EG-BIRTH-004 EG-FEAT-001"""
    async with running(mosquitto.port) as cloud:
        first = await cloud.offer("acme/washer-1", b"one", {})
        second = await cloud.offer("acme/washer-1", b"two", {})
        async with ScriptedDevice(mosquitto.port) as device:
            await device.be_born()
            assert sorted([await device.hear("offer"), await device.hear("offer")]) == [[first, 3], [second, 3]]
            await device.say("feat", {0: first, 1: 14, 2: offers.REFUSED})
            assert await device.hear("offer") == [second, 3]
            await device.be_born()
            assert await device.hear("offer") == [second, 3]


async def _offer_in_another_process(path: Path) -> int:
    script = (
        "import sys; from evergrow_cloud import offers; from evergrow_cloud.store import Store\n"
        "with Store(sys.argv[1]) as store: print(offers.offer(store, 'acme', 'washer-1', b'envelope', {1: b'body'}))"
    )
    return int(await _python(script, path))


async def _python(script: str, *args: object) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, *map(str, args), env=env, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_an_offer_of_another_process_reaches_the_device(running: MakeCloud, mosquitto: Mosquitto, path: Path) -> None:
    async with running(mosquitto.port), ScriptedDevice(mosquitto.port) as device:
        await device.be_born()
        transfer = await _offer_in_another_process(path)
        assert await device.hear("offer") == [transfer, 8]
        assert await pull(device, transfer, 1, 4) == b"body"


async def test_a_cloud_that_was_away_asks_devices_to_repeat(running: MakeCloud, broker_port: int, path: Path) -> None:
    """EG-BIRTH-004 EG-ACK-002"""
    async with ScriptedDevice(broker_port) as device:
        async with running(broker_port):
            await device.be_born()
            await device.say("usage", usage_body())
            await device.hear_ack(1)
        await device.say("usage", usage_body())  # nobody is there
        async with running(broker_port, rebirth_delay_s=0):
            number, command, args = await device.hear("cmd")
            assert (command, args) == (commands.REBIRTH, {})
            await device.say("rsp", [number, 0])
            assert (await device.be_born())[0] == 7
            for seq in (1, 2):
                await device.publish("usage", envelope(7, seq, usage_body()))
            await device.hear_ack(1, 2)
            assert device.unheard("cmd") == 0
    with Store(path) as store:
        assert usage.totals(store).cycles == 2


async def test_a_broker_that_restarts_is_found_again(running: MakeCloud, mosquitto: Mosquitto, path: Path) -> None:
    async with running(mosquitto.port):
        async with ScriptedDevice(mosquitto.port) as device:
            await device.be_born()
            mosquitto.kill()
        mosquitto.start()
        async with ScriptedDevice(mosquitto.port) as device:
            await device.say("birth", BIRTH, retain=True)
            if await device.hear_first("welcome", "cmd") == "cmd":  # the cloud came back after the birth, and asks for another
                await device.be_born()
            await device.say("usage", usage_body())
            await device.hear_ack(1)


async def test_commands_without_an_answer_time_out(running: MakeCloud, mosquitto: Mosquitto) -> None:
    async with running(mosquitto.port) as cloud, ScriptedDevice(mosquitto.port) as device:
        with pytest.raises(UnknownDevice):
            await cloud.command("acme/nobody", commands.STOP, {}, timeout=0.1)
        await device.be_born()
        with pytest.raises(CommandTimeout):
            await cloud.command("acme/washer-1", commands.STOP, {}, timeout=2)  # long enough to be sent
        number, *_ = await device.hear("cmd")
        await device.say("rsp", [number, 0])  # too late
        answer = asyncio.create_task(cloud.command("washer-1", commands.STOP, {}, deadline=1_795_339_260))
        second, _, _, deadline = await device.hear("cmd")
        assert second > number and deadline == 1_795_339_260
        await device.say("rsp", [second, 12])
        assert await answer == (12, None)


async def test_the_cloud_ends_at_once_whatever_it_is_doing(running: MakeCloud, mosquitto: Mosquitto) -> None:
    async with ScriptedDevice(mosquitto.port) as device:
        for seq in range(1, 31):
            async with running(mosquitto.port) as cloud:
                await device.say("usage", usage_body())
                await device.hear_ack(seq)
                for _ in range(seq % 3):
                    await device.say("feat", {0: 5, 1: 0, 2: 1})  # wakes what sends offers
                await cloud.offer("washer-1", bytes([seq]), {})


async def test_one_tenant_is_all_that_its_cloud_hears(running: MakeCloud, mosquitto: Mosquitto, path: Path) -> None:
    async with running(mosquitto.port, tenant="acme"):
        async with ScriptedDevice(mosquitto.port, "other-1", tenant="other") as other:
            await other.say("birth", BIRTH)
        async with ScriptedDevice(mosquitto.port) as device:
            await device.be_born()
    with Store(path) as store:
        assert [row.name for row in devices.every(store)] == ["acme/washer-1"]


async def test_a_cloud_that_is_overrun_starts_again_and_asks_for_what_it_dropped(
    running: MakeCloud, mosquitto: Mosquitto, path: Path
) -> None:
    """EG-ACK-002 EG-BIRTH-004"""
    records = [envelope(7, seq, usage_body()) for seq in range(1, 301)]
    limits = Limits(inbox_bytes=30_000)
    async with running(mosquitto.port, limits=limits, rebirth_delay_s=0), ScriptedDevice(mosquitto.port) as device:
        await device.be_born()
        with Store(path) as other, other.transaction():  # the cloud cannot commit
            for record in records:
                await device.publish("usage", record)
            while mosquitto.log.count("Sending PUBLISH to evergrow-cloud") < len(records):
                await device.publish("tele", b"")
        assert (await device.hear("cmd"))[1] == commands.REBIRTH
        await device.publish("usage", b"\x99\x01\x2c" + b"".join(records))
        await device.hear_ack(*range(1, 301))
    with Store(path) as store:
        assert usage.totals(store).cycles == 300


async def test_mqtt_3_1_1_is_spoken_where_there_is_no_mqtt_5(
    running: MakeCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "TIMEOUT_S", 3)  # iotcore's 3.1.1 port leaves MQTT 5 clients without an answer
    folder = tmp_path / "iotcore"
    folder.mkdir()
    with IotCore(folder) as broker:
        async with running(broker.v4_port), ScriptedDevice(broker.v4_port, version=4) as device:
            await device.be_born()
            await device.say("usage", usage_body())
            await device.hear_ack(1)


async def test_a_broker_that_is_not_there_yet_is_waited_for(path: Path, mosquitto: Mosquitto) -> None:
    mosquitto.stop()
    with Store(path) as store:
        async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud:
            with pytest.raises(BrokerError, match="no connection"):
                await cloud.connected(timeout_s=0.1)
            mosquitto.start()
            await cloud.connected()


async def test_two_clouds_on_one_broker_do_not_push_each_other_out(running: MakeCloud, mosquitto: Mosquitto, path: Path) -> None:
    async with running(mosquitto.port), running(mosquitto.port), ScriptedDevice(mosquitto.port) as device:
        await device.be_born()
        await device.hear("welcome")
        await device.say("usage", usage_body())
        await device.hear_ack(1)
        await device.hear_ack(1)
    with Store(path) as store:
        assert usage.totals(store).cycles == 1


async def test_tls_with_a_client_certificate(path: Path, tmp_path: Path, certificates: dict[str, Path]) -> None:
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    tls = BrokerTls(certificates["ca"], certificates["server"], certificates["server-key"], require_client_certificate=True)
    own = link.TlsOptions(str(certificates["ca"]), str(certificates["client"]), str(certificates["client-key"]))
    with Mosquitto(folder, tls=tls) as broker, Store(path) as store:
        async with (
            Cloud(store, f"mqtts://127.0.0.1:{broker.tls_port}", tls=own) as cloud,
            ScriptedDevice(broker.port) as device,
        ):
            await cloud.connected()
            await device.be_born()


async def test_a_broker_with_an_unknown_certificate_is_not_trusted(
    path: Path, tmp_path: Path, certificates: dict[str, Path]
) -> None:
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    tls = BrokerTls(certificates["ca"], certificates["server"], certificates["server-key"])
    with Mosquitto(folder, tls=tls) as broker, Store(path) as store:
        async with Cloud(store, f"mqtts://127.0.0.1:{broker.tls_port}") as cloud:
            with pytest.raises(BrokerError):
                await cloud.connected(timeout_s=0.5)


async def test_a_broker_that_is_gone_while_it_owes_a_puback_is_left_at_once(
    path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "TIMEOUT_S", 3600)
    async with Wire(mosquitto.port) as wire, ScriptedDevice(mosquitto.port) as device:
        with Store(path) as store:
            async with Cloud(store, f"mqtt://127.0.0.1:{wire.port}", rebirth_delay_s=0) as cloud:
                await cloud.connected()
                await device.say("birth", BIRTH, retain=True)
                await device.hear("welcome")
                wire.hold()
                await device.publish("usage", envelope(7, 1, usage_body()))
                while not usage.totals(store).cycles:
                    await asyncio.sleep(0.01)
                wire.cut()  # the ack was never taken, so the cloud waits for its PUBACK
                assert (await device.hear("cmd"))[1] == commands.REBIRTH


class Wire:
    """A TCP connection to `target` that can hold what goes there, and can be cut. `port`: the near end."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._held = False
        self._cut = asyncio.Event()

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def hold(self) -> None:
        self._held = True

    def cut(self) -> None:
        self._held = False
        self._cut.set()
        self._cut = asyncio.Event()

    async def _connect(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, there = await asyncio.open_connection("127.0.0.1", self._target)
        cut = asyncio.create_task(self._cut.wait())
        pipes = [asyncio.create_task(self._pipe(near, there, True)), asyncio.create_task(self._pipe(far, back, False))]
        await asyncio.wait([cut, *pipes], return_when=asyncio.FIRST_COMPLETED)
        for task in (cut, *pipes):
            task.cancel()
        back.close()
        there.close()

    async def _pipe(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, up: bool) -> None:
        while data := await source.read(4096):
            if not (up and self._held):
                target.write(data)
