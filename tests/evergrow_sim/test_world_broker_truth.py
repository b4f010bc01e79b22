"""The simulated broker beside mosquitto: the same packets to both, and what each of their clients gets compared.

Named differences, where MQTT leaves the choice or where the simulated broker offers less and says so:
- QoS 2, shared subscriptions and subscription identifiers are refused;
- a client with overlapping subscriptions gets a message once, at the highest QoS (mosquitto: once for each in version 5, and
  at the QoS of any of them in 3.1.1);
- on takeover the old version 5 connection is told 0x8E (mosquitto 2.0.11 just hangs up);
- on takeover the will is published unless it has a delay and the session goes on, as §3.1.3.2 wants it (mosquitto 2.0.11: only
  if the session ends);
- SUBSCRIBE to what the ACL does not allow is refused (mosquitto grants it, and delivers nothing);
- retained messages come in the order of their topics' first appearance (mosquitto: of its tree);
- an option of a subscription made again is changed (mosquitto 2.0.11: only its QoS);
- who leaves is sent nothing any more (mosquitto 2.1: perhaps its own will);
- an impossible topic is answered with 0x90, and PUBLISH with DUP at QoS 0 with 0x81 (mosquitto: 0x82, and no objection).
"""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import world_broker_kit as kit

from evergrow_sim.world.broker import Broker
from evergrow_tools.brokers import Mosquitto

SEEDS = range(16)
STEPS = 60
EXPIRY_S = 0x1_0000


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


class Simulated:
    """The simulated broker, driven as a TCP one is."""

    def __init__(self) -> None:
        self._broker = Broker(kit.Time())

    def connect(self, version: int) -> "SimulatedPeer":
        return SimulatedPeer(kit.Peer(self._broker, version))


class SimulatedPeer:
    def __init__(self, peer: kit.Peer) -> None:
        self._peer = peer

    @property
    def open(self) -> bool:
        return self._peer.state == "open"

    def send(self, raw: bytes) -> None:
        self._peer.connection.receive(raw)

    def settle(self) -> list[bytes]:
        return self._peer.raw()

    def hang_up(self) -> list[bytes]:
        found = self._peer.raw()
        self._peer.connection.lost()
        return found

    def ended(self) -> list[bytes]:
        assert not self.open
        return self._peer.raw()


class Real:
    def __init__(self, port: int) -> None:
        self._port = port

    def connect(self, version: int) -> kit.TcpPeer:
        return kit.TcpPeer(self._port)


def essence(raw: bytes, version: int) -> Any:
    """A packet without what a broker may choose: packet ids of its own, and what CONNACK says beside the code."""
    kind = raw[0] >> 4
    if kind == 2:
        return "CONNACK", raw[2], raw[3]
    if kind == 3:
        found = kit.decode(raw) if version == 5 else kit.decode_v4_publish(raw)
        extra = ()
        if version == 5:
            expiry_s = found.message_expiry_interval
            if expiry_s is not None:
                expiry_s = EXPIRY_S if EXPIRY_S - 200 < expiry_s <= EXPIRY_S else expiry_s  # time passes for mosquitto
            extra = (found.content_type, found.correlation_data, tuple(found.user_properties), expiry_s)
        flags = int(found.qos), bool(found.retain), bool(found.duplicate)
        return "PUBLISH", found.topic, bytes(found.payload), *flags, *extra
    return kind, raw


class Run:
    """One random script on one broker. `log`: what each step brought to each client."""

    def __init__(self, site: Any, seed: int) -> None:
        self._site = site
        self._seed = seed
        self._random = random.Random(seed)
        self._names = [f"s{seed}-{letter}" for letter in "abc"]
        self._versions = {name: self._random.choice([4, 5]) for name in self._names}
        self._peers: dict[str, Any] = {}
        self._owed: dict[str, list[int]] = {name: [] for name in self._names}
        self._filters: dict[str, set[str]] = {name: set() for name in self._names}
        self._wills: dict[str, bool] = {}
        self._count = 0
        self.log: list[Any] = []

    def play(self) -> list[Any]:
        for _ in range(STEPS):
            name = self._random.choice(self._names)
            choice = self._random.random()
            if name not in self._peers:
                self._connect(name)
            elif choice < 0.06:
                self._leave(name)
            elif choice < 0.1 and not self._wills[name]:
                self._take_over(name)
            elif choice < 0.25:
                self._subscribe(name)
            elif choice < 0.3:
                self._unsubscribe(name)
            elif choice < 0.4:
                self._acknowledge(name)
            else:
                self._publish(name)
            self._settle()
        return self.log

    def _topic(self) -> str:
        return f"t{self._seed}/" + self._random.choice(["a", "b", "a/x", "b/x", "", "a/"])

    def _connect(self, name: str) -> None:
        pick, version = self._random, self._versions[name]
        clean = pick.random() < 0.4
        will = None
        if pick.random() < 0.5:
            will = (self._topic(), b"will of " + name.encode(), pick.choice([0, 1]), pick.random() < 0.3)
        self._wills[name] = will is not None
        expiry_s = pick.choice([0, 1000])
        peer = self._peers[name] = self._site.connect(version)
        peer.send(kit.connect(name, version, clean=clean, expiry_s=expiry_s if version == 5 else 0, will=will))
        self._owed[name].clear()
        self.log.append(("connect", name, clean, expiry_s))

    def _take_over(self, name: str) -> None:
        old = self._peers[name]
        self._connect(name)
        self._keep(name, [raw for raw in old.ended() if raw[0] >> 4 != 14])

    def _leave(self, name: str) -> None:
        peer, version = self._peers.pop(name), self._versions[name]
        how = self._random.choice(["politely", "with will", "rudely"])
        self.log.append(("leave", name, how))
        if how == "politely" or (how == "with will" and version == 5):
            peer.send(kit.disconnect(4 if how == "with will" else 0))
        peer.hang_up()

    def _subscribe(self, name: str) -> None:
        pick, version = self._random, self._versions[name]
        wanted = f"t{self._seed}/" + pick.choice(["a", "b", "+", "#", "+/x", "a/#", "+/+"])
        # Before version 5 mosquitto takes the QoS of any of several that match, not the highest: there each client has its own.
        options = pick.choice([0, 1]) if version == 5 else len(self._versions) * ord(name[-1]) % 2
        if version == 5:
            # One subscription per client: with more, the two differ where they overlap.
            for old in sorted(self._filters[name] - {wanted}):
                self._peers[name].send(kit.unsubscribe(old, version=version))
            self._filters[name] &= {wanted}
            # The same for one filter each time: mosquitto 2.0.11 changes nothing but the QoS of a subscription that is there.
            options |= len(wanted) % 4 << 2 | pick.choice([0, 16, 32])
        self._filters[name].add(wanted)
        self.log.append(("subscribe", name, wanted, options))
        self._peers[name].send(kit.subscribe((wanted, options), version=version, packet_id=7))

    def _unsubscribe(self, name: str) -> None:
        wanted = f"t{self._seed}/" + self._random.choice(["a", "+", "#"])
        self._filters[name].discard(wanted)
        self.log.append(("unsubscribe", name, wanted))
        self._peers[name].send(kit.unsubscribe(wanted, version=self._versions[name], packet_id=8))

    def _publish(self, name: str) -> None:
        pick, version = self._random, self._versions[name]
        self._count += 1
        payload = b"" if pick.random() < 0.1 else f"{name} {self._count}".encode()
        properties = b""
        if version == 5 and pick.random() < 0.4:
            properties = b"\x03\x00\x04text\x26\x00\x01k\x00\x01v\x09\x00\x02id\x26\x00\x01k\x00\x01w"
            properties += b"\x02" + EXPIRY_S.to_bytes(4, "big") if pick.random() < 0.5 else b""
        topic, qos, retain = self._topic(), pick.choice([0, 1]), pick.random() < 0.25
        self.log.append(("publish", name, topic, payload, qos, retain))
        self._peers[name].send(
            kit.publish(topic, payload, qos, version=version, retain=retain, packet_id=self._count, properties=properties)
        )

    def _acknowledge(self, name: str) -> None:
        self.log.append(("acknowledge", name))
        for packet_id in self._owed[name]:
            self._peers[name].send(kit.puback(packet_id))
        self._owed[name].clear()

    def _settle(self) -> None:
        for name, peer in list(self._peers.items()):
            self._keep(name, peer.settle())
            assert peer.open, f"{name} was thrown out"

    def _keep(self, name: str, packets: list[bytes]) -> None:
        version = self._versions[name]
        found = [essence(raw, version) for raw in packets]
        for raw in packets:
            if raw[0] >> 4 == 3 and raw[0] & 2:
                message = kit.decode(raw) if version == 5 else kit.decode_v4_publish(raw)
                self._owed[name].append(message.packet_id)
        if found:
            # Only retained ones may come in another order.
            self.log.append((name, sorted(found, key=repr) if any(one[0] == "PUBLISH" and one[4] for one in found) else found))


@pytest.mark.parametrize("seed", SEEDS)
def test_clients_see_the_same_with_mosquitto(seed: int, mosquitto: Mosquitto) -> None:
    ours = Run(Simulated(), seed).play()
    theirs = Run(Real(mosquitto.port), seed).play()
    for step, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        assert one == other, f"step {step} after {ours[max(0, step - 6) : step]}"
    assert len(ours) == len(theirs)
