"""A feature's way over a bad line: bytes and time, in the virtual tier, with the real agent and the real cloud.

The line is as bad as the goals say: 100 ms round trip, and 2 % of all segments lost, each way. The network in memory has a simple
TCP: segments of up to 1460 bytes arrive in order; a lost one comes 200 ms later, doubled each time that it is lost again, and
all that is behind it waits. There is no slow start. Hashing and flash take no time: see `bench lms` for the former.

*Bytes on the wire* are whole MQTT packets of the transfer, both ways: offer, requests, blocks, reports, and their PUBACKs; with
MQTT 5 and a broker that shortens no topics (topic aliases) either way, which every broker can. Where the rest goes is told in
bytes. The device asks in blocks of 1 KiB, has a receive buffer of one, and takes up to 8 in one message, as they arrive
(EG-FEAT-028). Beside it: each block in a message of its own; and topic aliases to the device, which are no default, because there
are brokers that mix them up (rumqttd), and nothing in a CONNACK tells which.

*Ideal* is bare streams over the same line, without MQTT: one small request, then all bytes as fast as they go; for the envelope,
and then, since nothing may be fetched that was not verified (EG-FEAT-002), for the body. Beside it stands one stream of both:
what is between them is one round trip and what a loss at the end of the envelope costs, and both are the price of that rule. A
device that asked for bodies before it has verified the envelope would store what anybody sends.
"""

import statistics
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

from evergrow_agent import trust
from evergrow_agent.board import Config, Identity
from evergrow_cloud import wire
from evergrow_cloud.limits import Limits
from evergrow_cloud.messages import FeatureReport
from evergrow_cloud.offers import CONFIRMED
from evergrow_protocol.cbor import dumps
from evergrow_sim.publisher import Signer, feature_manifest
from evergrow_sim.world.broker import Broker
from evergrow_sim.world.broker_serve import BrokerServer
from evergrow_sim.world.broker_settings import Limits as BrokerLimits
from evergrow_sim.world.cloud import NAME as CLOUD
from evergrow_sim.world.cloud import CloudEnd
from evergrow_sim.world.device import WorldDevice
from evergrow_sim.world.net import Stream
from evergrow_sim.world.wiretap import Wiretap
from evergrow_sim.world.world import World

BODY_BYTES = 10 * 1024
BLOCK_BYTES = 1024
ROUND_TRIP_MS = 100
LOSS = 0.02
LINES = {"NB-IoT": 8_000, "LTE-M": 46_000, "1 Mbit/s": 125_000}
"""Bytes per second each way, by what has about so many."""
SEEDS = 40
"""Transfers over each line; each loses other segments."""
ALIASES = 10
"""Topics that a broker shortens, if it does: mosquitto's default, from 2.1 on."""
GOAL_BYTES = 1.05
GOAL_TIME = 1.25

_DEVICE = "washer"
_KINDS = ("offer", "get", "block", "feat")
_NAMES = {"offer": "offer", "get": "requests", "block": "blocks", "feat": "reports"}
_TIMES = ("transfer_ms", "ideal_ms", "stream_ms", "confirmed_ms")
_FEATURE = 1900
_SETTLED_MS = 30_000
_LIMIT_MS = 600_000
_ASK_BYTES = 60
_PUBLISHER = ("bench", b"northwash", 2)


class BenchError(Exception):
    """A transfer did not end as it should."""


EXPECTED = (BenchError,)


@dataclass
class Run:
    """One transfer. `rest`: bytes that are no payload, by what they are for; `blocks`: messages that carry blocks. Times in ms:
    `transfer_ms` from the offer at the device to the last block, `confirmed_ms` from the offer in the cloud to the report of the
    confirmation there; `ideal_ms`: of bare streams, `stream_ms`: of a single one."""

    wire_bytes: int
    rest: dict[str, int]
    secured_bytes: int
    requests: int
    blocks: int
    transfer_ms: int
    confirmed_ms: int
    ideal_ms: int
    stream_ms: int


def run(lines: dict[str, int] | None = None, seeds: int = SEEDS) -> dict[str, Any]:
    """Bytes once, over a line that loses nothing; times over each line, the mean of `seeds` transfers."""
    envelope, body = feature(BODY_BYTES)
    payload_bytes = len(envelope) + len(body)
    clean = transfer(0, 0, 0.0)
    single = transfer(0, 0, 0.0, message_bytes=1)
    aliases = transfer(0, 0, 0.0, aliases=ALIASES)
    result: dict[str, Any] = {
        "envelope_bytes": len(envelope),
        "body_bytes": len(body),
        "block_bytes": BLOCK_BYTES,
        "wire_bytes": clean.wire_bytes,
        "wire_factor": round(clean.wire_bytes / payload_bytes, 4),
        "rest_bytes": clean.rest,
        "wire_factor_single_blocks": round(single.wire_bytes / payload_bytes, 4),
        "wire_factor_with_aliases": round(aliases.wire_bytes / payload_bytes, 4),
        "secured_factor": round(clean.secured_bytes / payload_bytes, 4),
        "requests": clean.requests,
        "messages_of_blocks": clean.blocks,
        "lines": {},
    }
    for name, bytes_per_s in (lines or LINES).items():
        runs = [transfer(seed, bytes_per_s, LOSS) for seed in range(seeds)]
        mean = {key: statistics.mean([getattr(one, key) for one in runs]) for key in _TIMES}
        result["lines"][name] = {
            "bytes_per_s": bytes_per_s,
            **{key: round(value) for key, value in mean.items()},
            "time_factor": round(mean["transfer_ms"] / mean["ideal_ms"], 3),
            "resent_factor": round(statistics.mean([one.wire_bytes for one in runs]) / payload_bytes, 4),
        }
    return result


def format(result: dict[str, Any]) -> str:
    """The figures of `run` as text."""
    size = result["body_bytes"] + result["envelope_bytes"]
    single, aliases = result["wire_factor_single_blocks"], result["wire_factor_with_aliases"]
    rest = ", ".join(f"{kind} {count}" for kind, count in result["rest_bytes"].items())
    lines = [
        f"a code feature of {result['body_bytes']} B and its envelope of {result['envelope_bytes']} B, blocks of"
        f" {result['block_bytes']} B: {result['requests']} requests, {result['messages_of_blocks']} messages of blocks",
        f"bytes on the wire, whole MQTT packets, both ways: {result['wire_bytes']} for {size}, x{result['wire_factor']:.3f};"
        f" goal {GOAL_BYTES}: {_met(result['wire_factor'], GOAL_BYTES)}",
        f"  bytes that are no payload, PUBACKs included: {rest}",
        f"  with TLS 1.3, TCP and IPv4 x{result['secured_factor']:.3f}; with topic aliases, where there are any, x{aliases:.3f};"
        f" with each block in a message of its own x{single:.3f}",
        f"time over a line of {ROUND_TRIP_MS} ms round trip that loses {100 * LOSS:g} % of the segments each way, mean of many:",
    ]
    for name, line in result["lines"].items():
        lines.append(
            f"  {name:9} {line['bytes_per_s']:7d} B/s  {line['transfer_ms']:6d} ms, ideal {line['ideal_ms']:5d} ms:"
            f" x{line['time_factor']:.2f}; goal {GOAL_TIME}: {_met(line['time_factor'], GOAL_TIME)}"
        )
        lines.append(
            f"    one stream {line['stream_ms']:5d} ms: x{line['transfer_ms'] / line['stream_ms']:.2f};"
            f" from offer to confirmed {line['confirmed_ms']} ms; bytes x{line['resent_factor']:.3f}"
        )
    lines.append("ideal is two streams, one after the other: a body is asked for once its envelope is verified (EG-FEAT-002)")
    return "\n".join(lines)


@cache
def feature(size: int) -> tuple[bytes, bytes]:
    """(envelope, body of so many bytes) of a code feature whose source is mostly one long comment."""
    source = b"def start(api):\n    pass\n"
    rest = size - len(_body(source)) - 2  # a string of more than 255 bytes has two more of head
    noise = b"".join([sha256(bytes((number & 255, number >> 8))).hexdigest().encode() for number in range(rest // 64 + 1)])
    body = _body(source + b"#" + noise[: rest - 2] + b"\n")
    manifest = feature_manifest(body, (_PUBLISHER[1], b"bench"), bytes(16), bytes(16))
    return _signer().envelope(manifest), body


@cache
def _signer() -> Signer:
    return Signer(*_PUBLISHER)


def _body(source: bytes) -> bytes:
    needs = {5: 1024, 6: 50}
    return dumps({0: 3, 1: _FEATURE, 2: "bench", 3: "1.0.0", 10: needs, 11: source})


def transfer(
    seed: int,
    bytes_per_s: int,
    loss: float,
    block_bytes: int = BLOCK_BYTES,
    aliases: int = 0,
    message_bytes: int = Limits.message_block_bytes,
) -> Run:
    """Offer the feature to a washer that is connected and idle, and wait for its confirmation. BenchError.

    `aliases`: topics that the broker shortens, and may be shortened to it. `message_bytes`: of blocks that the cloud puts into
    one message, but one block at least.
    """
    envelope, body = feature(BODY_BYTES)
    moments: dict[str, int] = {}

    def on_message(now_ms: int, kind: str, payload: bytes) -> None:
        if kind != "offer" or kind not in moments:  # it is repeated after a birth
            moments[kind] = now_ms
        if kind == "feat":
            report = wire.decode(kind, payload)
            assert isinstance(report, FeatureReport)
            if report.code:
                raise BenchError(f"the feature was refused with code {report.code}: {report.text}")
            if report.state == CONFIRMED:
                moments["confirmed"] = now_ms

    tap = Wiretap(_DEVICE, _KINDS, on_message)
    with World(seed) as world:
        world.trace.sink = tap
        loop = world.loop
        broker = Broker(lambda: loop.now_ms, limits=BrokerLimits(topic_aliases=aliases, aliases_out=aliases))
        world.network.listen("broker", 1883, BrokerServer(broker, loop).accept)
        cloud = CloudEnd(world, "broker", 1883, limits=Limits(message_block_bytes=message_bytes))
        world.network.link(CLOUD).delay_ms = 0  # the cloud is where the broker is
        link = world.network.link(_DEVICE)
        link.delay_ms = ROUND_TRIP_MS // 2
        config = Config("broker", 1883, rx_bytes=block_bytes + 128, block_bytes=block_bytes, mqtt={"rx_aliases": aliases})
        device = WorldDevice(world, _DEVICE, config, Identity("acme", _DEVICE, "evergrow-w1", "0.1.0", bytes(16), bytes(16)))
        trust.provision(device.flash, [_signer().key])
        loop.call_at_us(0, cloud.start)
        loop.call_at_us(1000, device.power_on)
        world.run(until_ms=_SETTLED_MS)
        link.bytes_per_s, link.loss = bytes_per_s, loss
        started_ms = loop.now_ms
        cloud.offer(_DEVICE, envelope, {1: body})
        while "confirmed" not in moments:
            world.run(until_ms=loop.now_ms + 1000)
            if loop.now_ms > started_ms + _LIMIT_MS:
                raise BenchError(f"no confirmation within {_LIMIT_MS} ms")
    counts = tap.counts
    rest = {kind: count.bytes for kind, count in counts.items()}
    rest["block"] -= len(envelope) + len(body)
    return Run(
        sum(count.bytes for count in counts.values()),
        {_NAMES[kind]: count for kind, count in rest.items()},
        sum(count.secured for count in counts.values()),
        counts["get"].packets,
        counts["block"].packets,
        moments["block"] - moments["offer"],
        moments["confirmed"] - started_ms,
        bare_ms(seed, bytes_per_s, loss, [len(envelope), len(body)]),
        bare_ms(seed, bytes_per_s, loss, [len(envelope) + len(body)]),
    )


def bare_ms(seed: int, bytes_per_s: int, loss: float, sizes: list[int]) -> int:
    """How long one request and a stream of bytes take over the same line, for each of `sizes`, one after the other."""
    took_ms = -1
    with World(seed) as world:
        link = world.network.link(_DEVICE)
        link.delay_ms = ROUND_TRIP_MS // 2

        async def serve(stream: Stream) -> None:
            for size in sizes:
                await _read(stream, _ASK_BYTES)
                await stream.write(bytes(size))

        async def ask() -> None:
            nonlocal took_ms
            stream = await world.network.port_for(_DEVICE).connect("cloud", 1)
            link.bytes_per_s, link.loss = bytes_per_s, loss
            started_ms = world.loop.now_ms
            for size in sizes:
                await stream.write(bytes(_ASK_BYTES))
                await _read(stream, size)
            took_ms = world.loop.now_ms - started_ms

        world.network.listen("cloud", 1, serve)
        world.run(ask(), until_ms=_LIMIT_MS)
    return took_ms


async def _read(stream: Stream, size: int) -> None:
    buffer = bytearray(size)
    while size:
        size -= await stream.readinto(memoryview(buffer)[:size])


def _met(factor: float, goal: float) -> str:
    return "met" if factor <= goal else "NOT met"


if __name__ == "__main__":
    print(format(run()))
