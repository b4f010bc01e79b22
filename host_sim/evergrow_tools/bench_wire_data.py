"""A day in the life of a washer, as data: what it measured each minute, and what its three cycles used.

It is lived by the real agent with the simulated washer's physics, in virtual time: all encodings are given the same numbers.
"""

from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

from evergrow_protocol import message_json, message_reader, message_table
from evergrow_protocol import registry_washer as ids
from evergrow_sim.world.broker_packets import Publish
from evergrow_sim.world.house import House
from evergrow_sim.world.scenario import Act, DeviceSpec, Scenario
from evergrow_sim.world.world import World

SIGNALS = (ids.SIGNAL_WATER_ML, ids.SIGNAL_TEMP, ids.SIGNAL_DRUM_RPM, ids.SIGNAL_POWER_W)
SAMPLES = 10  # of a batch
STEP_S = 60
BATCHES = 144
UTC_S = 1_795_339_200  # when the world begins

_NAME = "w1"
_HOUR_MS = 3_600_000
_STARTS = ((7, ids.PROGRAMME_QUICK), (12, ids.PROGRAMME_COTTON), (19, ids.PROGRAMME_ECO))


@dataclass(frozen=True)
class Record:
    """A usage record: `payload` as the agent published it, and what it says, with names. `boot` and `seq` name it, `t` is UTC."""

    payload: bytes
    boot: int
    seq: int
    t: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """`columns`: {signal: its values, `STEP_S` apart}, the first at `t`, UTC. `seq` counts batches from 1."""

    seq: int
    t: int
    columns: dict[int, list[int]]


@dataclass
class Day:
    """`births`: the payloads of birth and state after the one connect."""

    batches: list[Batch] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    births: list[tuple[str, bytes]] = field(default_factory=list)


class DayError(Exception):
    """The day did not go as it must, so that there is nothing to measure."""


@cache
def day() -> Day:
    """The same every time. Raises DayError."""
    spec = DeviceSpec(_NAME, 1000, 3000, 0, "none", 5, 120, (), 20, 0, 65536, 0, "")
    acts = tuple(Act(hour * _HOUR_MS, _NAME, "start", programme) for hour, programme in _STARTS)
    found = Day()
    with World(1) as world:
        house = House(world, Scenario((spec,), acts, BATCHES * SAMPLES * STEP_S * 1000), _refuse)
        house.tap.on_publish = lambda publish: _heard(found, publish)
        samples: list[list[int]] = []
        washer = house.residents[_NAME].washer
        for minute in range(BATCHES * SAMPLES):
            at_us = minute * STEP_S * 1_000_000 + 500_000
            world.loop.call_at_us(at_us, lambda: samples.append([washer.read(one) for one in SIGNALS]))
        house.open()
        world.run(until_ms=house.scenario.span_ms + _HOUR_MS)
    for number in range(BATCHES):
        rows = samples[number * SAMPLES : (number + 1) * SAMPLES]
        columns = {signal: [row[i] for row in rows] for i, signal in enumerate(SIGNALS)}
        found.batches.append(Batch(number + 1, UTC_S + number * SAMPLES * STEP_S, columns))
    if [record.body.get("outcome", 0) for record in found.records] != [0, 0, 0]:
        raise DayError(f"of {len(_STARTS)} cycles these were reported: {[record.body for record in found.records]}")
    return found


def busiest(batches: list[Batch]) -> Batch:
    """The batch in which most happened: the sum of all differences, in steps of the registry."""

    def activity(batch: Batch) -> int:
        return sum(abs(b - a) for column in batch.columns.values() for a, b in pairwise(column))

    return max(batches, key=activity)


def _heard(found: Day, publish: Publish) -> None:
    table = message_table.load()
    kind = "/".join(publish.topic.split("/")[3:])
    payload = bytes(publish.payload)
    if kind in ("up/birth", "up/state") and len(found.births) < 2:
        found.births.append((kind, payload))
    elif kind == "up/usage":
        message = message_json.to_json(message_reader.read(table, table.kinds[kind], payload))
        if all((record.boot, record.seq) != (message["boot"], message["seq"]) for record in found.records):
            found.records.append(Record(payload, message["boot"], message["seq"], message["t"], message["body"]))


def _refuse(rule: str, device: str, what: str) -> None:
    raise DayError(f"{rule}: {device}: {what}")
