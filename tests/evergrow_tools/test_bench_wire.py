"""The benchmark of bytes on the wire: the goals, and that each encoding says what it is compared for."""

import json

import cbor2
import pytest

from evergrow_cloud import wire
from evergrow_cloud.messages import Telemetry
from evergrow_tools import bench_wire, bench_wire_link, bench_wire_peers
from evergrow_tools.bench_sparkplug import Payload, _classes
from evergrow_tools.bench_wire_data import SIGNALS, Day, busiest, day


@pytest.fixture(scope="module")
def lived() -> Day:
    return day()


def test_the_goals_are_kept() -> None:
    """EG-USE-007, EG-TELE-001: on a day of real physics."""
    result = bench_wire.run()
    rows = result["encodings"]
    assert rows["Evergrow"]["record"] <= result["record_goal"]
    assert rows["Evergrow"]["batch"] <= result["batch_goal"]
    assert 3 * rows["Evergrow"]["day"] <= rows["Sparkplug B"]["day"]
    assert (result["batches"], result["records"]) == (144, 3)
    assert "goals: record" in bench_wire.format(result)


def test_the_batch_is_what_the_cloud_would_read(lived: Day) -> None:
    batch = busiest(lived.batches)
    read = wire.decode("tele", bench_wire_peers.evergrow_batch(batch))
    assert isinstance(read, Telemetry)
    assert {signal: list(column) for signal, column in read.columns.items()} == batch.columns
    assert (read.header.seq, read.header.utc_s) == (batch.seq, batch.t)


def test_the_peers_say_the_same(lived: Day) -> None:
    batch, record = busiest(lived.batches), lived.records[0]
    named = json.loads(bench_wire_peers.json_batch(batch))
    assert [10 * value for value in named["temp"]] == pytest.approx(batch.columns[SIGNALS[1]])
    assert len(bench_wire_peers.senml_batch(batch)) == 40
    labelled = cbor2.loads(next(one for one in bench_wire_peers.ENCODINGS if one.name == "SenML-CBOR").record(record))
    assert labelled[0][-3] == record.t
    payload = _classes()["Payload"].FromString(bench_wire_peers.sparkplug_batch(batch))
    assert [metric.int_value for metric in payload.metrics if metric.alias == 0] == batch.columns[SIGNALS[0]]
    table = _classes()["Payload"].FromString(bench_wire_peers.sparkplug_table(batch)).metrics[0].dataset_value
    assert [row.elements[0].int_value for row in table.rows] == batch.columns[SIGNALS[0]]


def test_sparkplug_is_encoded_as_its_schema_says() -> None:
    """Bytes by hand: timestamp 1, metric {alias 2, timestamp 1, int_value 5}, seq 3."""
    payload = Payload(0, 3)
    payload.metric(2, 5, 0)
    assert payload.encode().hex() == "0800" + "1206" + "1002" + "1800" + "5005" + "1803"


def test_the_line_counts_tls_and_tcp() -> None:
    overhead = bench_wire_link.tls().record
    assert overhead == 5 + 1 + 16, "header, content type and tag of TLS 1.3"
    assert bench_wire_link.on_the_line(100) == 100 + overhead + 80
    assert bench_wire_link.on_the_line(1460) == 1460 + overhead + 160
