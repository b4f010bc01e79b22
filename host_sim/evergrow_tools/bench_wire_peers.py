"""The same usage record and the same batch in the encodings that others use. Each says all that the others say.

Values that have a scale go out as people would write them: 60.2 °C in JSON and SenML, 602 with a scale known to both sides in
Sparkplug and Evergrow.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cbor2

from evergrow_agent.telemetry import SignalSet, Telemetry
from evergrow_protocol import registry
from evergrow_tools.bench_sparkplug import Payload
from evergrow_tools.bench_wire_data import SAMPLES, SIGNALS, STEP_S, Batch, Record

_REGISTRY = registry.load()
_SENML_LABELS = {"bn": -2, "bt": -3, "n": 0, "u": 1, "v": 2, "vs": 3, "t": 6}  # RFC 8428 section 6
_SENML_UNITS = {"degC": "Cel", "W": "W", "Wh": "Wh", "rpm": "1/min", "ml": "ml", "s": "s"}
_BATCH_TABLE = 100  # alias of the DataSet
_USAGE_ALIASES = 10  # aliases of the meters follow those of the signals


@dataclass(frozen=True)
class Encoding:
    """`topic`: where records and batches go, `{kind}` left open. `qos_record`: with what a record is published."""

    name: str
    record: Callable[[Record], bytes]
    batch: Callable[[Batch], bytes]
    topic: str
    qos_record: int = 1


class _Now:
    """A time base at the time of a batch."""

    def __init__(self, utc_s: int) -> None:
        self._utc_s = utc_s

    def t(self) -> int:
        return self._utc_s


def evergrow_batch(batch: Batch) -> bytes:
    """As the agent makes it, sample by sample."""
    at = 0
    telemetry = Telemetry(lambda signal: batch.columns[signal][at], _Now(batch.t))  # type: ignore[arg-type]
    telemetry.boot = 1
    telemetry._seq = batch.seq - 1
    telemetry.configure([SignalSet(STEP_S, STEP_S, True, dict.fromkeys(SIGNALS, 0), SAMPLES)])
    for at in range(SAMPLES):
        telemetry.tick(1000 * STEP_S * at, True)
    payload = telemetry.take()
    assert payload is not None
    return bytes(payload)


def json_record(record: Record) -> bytes:
    named = {name: _scaled(_REGISTRY.usage.by_name(name), value) for name, value in record.body.items()}
    return _compact({"boot": record.boot, "seq": record.seq, "t": record.t} | named)


def json_batch(batch: Batch) -> bytes:
    named = {
        _signal(signal).name: [_scaled(_signal(signal), value) for value in column] for signal, column in batch.columns.items()
    }
    return _compact({"boot": 1, "seq": batch.seq, "t": batch.t, "dt": STEP_S} | named)


def senml_record(record: Record) -> list[dict[str, Any]]:
    """A pack: boot and seq in the base name, so that a record can be told from its repetition."""
    pack = [_senml(name, _REGISTRY.usage.by_name(name), value) for name, value in record.body.items()]
    pack[0] = {"bn": f"washer-1:{record.boot}:{record.seq}:", "bt": record.t} | pack[0]
    return pack


def senml_batch(batch: Batch) -> list[dict[str, Any]]:
    pack = []
    for signal, column in batch.columns.items():
        for number, value in enumerate(column):
            pack.append(_senml(_signal(signal).name, _signal(signal), value) | ({"t": number * STEP_S} if number else {}))
    pack[0] = {"bn": f"washer-1:1:{batch.seq}:", "bt": batch.t} | pack[0]
    return pack


def sparkplug_record(record: Record) -> bytes:
    payload = Payload(record.t, record.seq)
    for number, value in enumerate([record.boot, record.seq, *record.body.values()]):
        payload.metric(_USAGE_ALIASES + number, value, record.t)
    return payload.encode()


def sparkplug_batch(batch: Batch) -> bytes:
    """A metric for each sample, with its own time: what Sparkplug has for buffered samples."""
    payload = Payload(batch.t + (SAMPLES - 1) * STEP_S, batch.seq)
    for alias, column in enumerate(batch.columns.values()):
        for number, value in enumerate(column):
            payload.metric(alias, value, batch.t + number * STEP_S, historical=number < SAMPLES - 1)
    return payload.encode()


def sparkplug_table(batch: Batch) -> bytes:
    """One metric that is a table, as a device may define for itself."""
    payload = Payload(batch.t, batch.seq)
    payload.table(_BATCH_TABLE, batch.t, {_signal(signal).name: column for signal, column in batch.columns.items()})
    return payload.encode()


_TOPIC = "eg1/acme/washer-1/up/{kind}"
_SPARKPLUG_TOPIC = "spBv1.0/acme/NDATA/washer-1"
ENCODINGS = (
    Encoding("Evergrow", lambda record: record.payload, evergrow_batch, _TOPIC),
    Encoding("plain JSON", json_record, json_batch, _TOPIC),
    Encoding("SenML-JSON", lambda one: _compact(senml_record(one)), lambda one: _compact(senml_batch(one)), _TOPIC),
    Encoding("SenML-CBOR", lambda one: _labelled(senml_record(one)), lambda one: _labelled(senml_batch(one)), _TOPIC),
    Encoding("Sparkplug B", sparkplug_record, sparkplug_batch, _SPARKPLUG_TOPIC, qos_record=0),
    Encoding("Sparkplug B, DataSet", sparkplug_record, sparkplug_table, _SPARKPLUG_TOPIC, qos_record=0),
)


def _signal(number: int) -> registry.Entry:
    return _REGISTRY.signals.by_id(number)


def _scaled(entry: registry.Entry, value: Any) -> Any:
    if not isinstance(value, int) or entry.scale == 1:
        return value
    return float(value * entry.scale)


def _senml(name: str, entry: registry.Entry, value: Any) -> dict[str, Any]:
    unit = _SENML_UNITS.get(entry.unit)
    return {"n": name} | ({"u": unit} if unit else {}) | {"v": _scaled(entry, value)}


def _labelled(pack: list[dict[str, Any]]) -> bytes:
    return cbor2.dumps([{_SENML_LABELS[key]: value for key, value in one.items()} for one in pack], canonical=True)


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
