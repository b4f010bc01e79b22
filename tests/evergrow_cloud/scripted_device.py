"""A device made of aiomqtt and cbor2: it says what a test tells it to say, and hands over what it hears."""

import asyncio
from collections import defaultdict
from types import TracebackType
from typing import Any

import aiomqtt
import cbor2

PATIENCE_S = 30
"""Only a broken cloud is waited for this long."""

BIRTH = {
    0: 0, 1: 1, 2: 1, 3: "wm-8", 4: "1.0.0", 5: ["micropython", "1.28.0", "unix"], 6: [[1, 1001, 4]],
    7: 2048, 8: 512, 9: 0, 10: 90000,
}  # fmt: skip
ONLINE = {0: 1, 1: 0, 2: 0, 3: 0, 4: 0, 5: False, 6: 0}


def envelope(boot: int, seq: int, body: Any, t: Any = None) -> bytes:
    """`t`: default [1000], a second after boot. Bodies have ascending keys in these tests, so plain dumps is deterministic."""
    return cbor2.dumps([boot, seq, [1000] if t is None else t, body])


def usage_body(
    programme: int = 1, energy_wh: int = 941, water_ml: int = 51240, features: Any = None, **rest: int
) -> dict[int, Any]:
    body: dict[int, Any] = {0: programme, 1: rest.get("outcome", 0), 2: 7265}
    if features:
        body[3] = [number for feature in features for number in feature]
    return body | {4: energy_wh, 5: water_ml, 6: 602, 7: 1000}


def acked(ack: list[Any]) -> set[int]:
    """The sequence numbers that a dn/ack names (EG-ACK-001)."""
    bitmap = int.from_bytes(ack[2], "little") if len(ack) > 2 else 0
    later = {ack[1] + 1 + bit for bit in range(bitmap.bit_length()) if bitmap >> bit & 1}
    return set(range(1, ack[1] + 1)) | later


class ScriptedDevice:
    """`async with ScriptedDevice(port)`: connected and subscribed."""

    def __init__(self, port: int, device: str = "washer-1", *, boot: int = 7, tenant: str = "acme", version: int = 5) -> None:
        self.boot = boot
        self.device = device
        self._root = f"eg1/{tenant}/{device}"
        self._seqs: dict[str, int] = defaultdict(int)
        self._heard: dict[str, asyncio.Queue[Any]] = defaultdict(asyncio.Queue)
        protocol = aiomqtt.ProtocolVersion.V5 if version == 5 else aiomqtt.ProtocolVersion.V311
        self._client = aiomqtt.Client("127.0.0.1", port, identifier=device, protocol=protocol)

    async def __aenter__(self) -> "ScriptedDevice":
        await self._client.__aenter__()
        await self._client.subscribe(f"{self._root}/dn/#", qos=1)
        self._reader = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._reader.cancel()
        await asyncio.wait([self._reader])
        try:
            await self._client.__aexit__(None, None, None)
        except aiomqtt.MqttError:
            if error is None and not self._reader.cancelled():
                raise

    async def publish(self, kind: str, payload: bytes, *, retain: bool = False) -> None:
        await self._client.publish(f"{self._root}/up/{kind}", payload, 0 if kind in ("get", "tele") else 1, retain)

    async def say(self, kind: str, body: Any, *, t: Any = None, retain: bool = False) -> int:
        """Publish a body in the next envelope of its kind. Returns its seq."""
        self._seqs[kind] += 1
        await self.publish(kind, envelope(self.boot, self._seqs[kind], body, t), retain=retain)
        return self._seqs[kind]

    async def hear(self, kind: str) -> Any:
        """The next dn message of a kind."""
        return await asyncio.wait_for(self._heard[kind].get(), PATIENCE_S)

    async def hear_first(self, *kinds: str) -> str:
        """Wait for a message of any of the kinds, and take it; returns its kind."""
        getting = {asyncio.create_task(self._heard[kind].get()): kind for kind in kinds}
        done, pending = await asyncio.wait(getting, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        assert done, f"none of {kinds} within {PATIENCE_S} s"
        return getting[done.pop()]

    def unheard(self, kind: str) -> int:
        """How many messages of a kind have arrived that nobody asked for."""
        return self._heard[kind].qsize()

    async def be_born(self) -> Any:
        """Birth and state; returns the welcome."""
        await self.say("birth", BIRTH, retain=True)
        await self.say("state", ONLINE, retain=True)
        return await self.hear("welcome")

    async def hear_ack(self, *seqs: int, boot: int | None = None) -> Any:
        """Wait for the ack that names all of `seqs`."""
        while True:
            ack = await self.hear("ack")
            if ack[0] == (boot or self.boot) and acked(ack) >= set(seqs):
                return ack

    async def _listen(self) -> None:
        async for message in self._client.messages:
            self._heard[str(message.topic).rpartition("/")[2]].put_nowait(cbor2.loads(bytes(message.payload)))
