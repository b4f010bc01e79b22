"""Bytes on the wire: a usage record, a batch of 10 samples x 4 signals, and a day, beside what others use, on the same data.

The day: a batch every ten minutes (144) and three cycles, over one connection. Counted are all bytes in both directions: MQTT
with its acknowledgements, TLS 1.3, TCP and IP. For a record that must arrive, Evergrow also has its own `dn/ack`; Sparkplug
publishes with QoS 0, as it demands, and so acknowledges nothing. Keepalive is the same for all, and counted apart.
"""

from typing import Any

from evergrow_cloud import wire, wire_down
from evergrow_tools import bench_wire_link as line
from evergrow_tools.bench_wire_data import BATCHES, DayError, busiest, day
from evergrow_tools.bench_wire_peers import ENCODINGS, Encoding

EXPECTED = (DayError,)
RECORD_GOAL = 43
BATCH_GOAL = 80
_DAY_S = 86_400


def run() -> dict[str, Any]:
    """{"encodings": {name: sizes}, ...}; sizes in bytes. The cloud has read what is Evergrow's."""
    lived = day()
    longest = max(lived.records, key=lambda record: len(record.payload))
    full = busiest(lived.batches)
    pings = _DAY_S // line.KEEPALIVE_S * 2 * line.on_the_line(line.PING_BYTES)
    found: dict[str, Any] = {}
    for encoding in ENCODINGS:
        record, batch = encoding.record(longest), encoding.batch(full)
        batches = [encoding.batch(one) for one in lived.batches]
        found[encoding.name] = {
            "record": len(record),
            "record_publish": line.publish_bytes(_topic(encoding, "usage"), record, encoding.qos_record),
            "batch": len(batch),
            "batch_publish": line.publish_bytes(_topic(encoding, "tele"), batch, 0),
            "batch_mean": round(sum(map(len, batches)) / len(batches), 1),
            "day": _day(encoding, batches, [encoding.record(one) for one in lived.records]),
        }
    for one in lived.batches:
        wire.decode("tele", ENCODINGS[0].batch(one))
    return {
        "encodings": found,
        "batches": BATCHES,
        "records": len(lived.records),
        "tls_record": line.tls().record,
        "tls_handshake": line.tls().handshake,
        "keepalive": pings,
        "keepalive_s": line.KEEPALIVE_S,
        "record_goal": RECORD_GOAL,
        "batch_goal": BATCH_GOAL,
    }


def _day(encoding: Encoding, batches: list[bytes], records: list[bytes]) -> int:
    packets = [line.publish_bytes(_topic(encoding, "tele"), batch, 0) for batch in batches]
    for number, record in enumerate(records, 1):
        packets.append(line.publish_bytes(_topic(encoding, "usage"), record, encoding.qos_record))
        if encoding.qos_record:
            packets.append(line.PUBACK_BYTES)
        if encoding is ENCODINGS[0]:
            packets += [line.publish_bytes("eg1/acme/washer-1/dn/ack", wire_down.ack(1, number), 1), line.PUBACK_BYTES]
    return sum(line.on_the_line(packet) for packet in packets)


def _topic(encoding: Encoding, kind: str) -> str:
    return encoding.topic.format(kind=kind)


def format(result: dict[str, Any]) -> str:
    """A table; the day as a share of Sparkplug B's."""
    rows = result["encodings"]
    base = rows["Sparkplug B"]["day"]
    lines = [f"{'bytes':<22}{'record':>8}{'PUBLISH':>9}{'batch':>8}{'PUBLISH':>9}{'mean':>8}{'a day':>10}"]
    for name, row in rows.items():
        sizes = f"{row['record']:>8}{row['record_publish']:>9}{row['batch']:>8}{row['batch_publish']:>9}{row['batch_mean']:>8}"
        lines.append(f"{name:<22}{sizes}{row['day']:>10}  x{row['day'] / base:.2f}")
    own, pings = rows["Evergrow"], result["keepalive"]
    share = (own["day"] + pings) / (base + pings)
    lines += [
        "",
        "record: the longest of the day's; batch: the busiest of the day's, 10 samples x 4 signals; mean: of all its batches",
        f"a day: {result['batches']} batches and {result['records']} records with all of MQTT, TLS 1.3, TCP and IP",
        f"TLS takes {result['tls_record']} bytes a record and, not counted, {result['tls_handshake']} for a handshake",
        f"keepalive, each {result['keepalive_s']} s, adds {pings} bytes to each; with it Evergrow's day is x{share:.2f}",
        f"goals: record {own['record']} of {result['record_goal']}, batch {own['batch']} of {result['batch_goal']},"
        f" day x{own['day'] / base:.2f} of x0.33",
    ]
    return "\n".join(lines)
