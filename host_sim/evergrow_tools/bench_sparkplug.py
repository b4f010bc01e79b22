"""Sparkplug B 3.0 payloads by a real protobuf library. The schema is Eclipse Tahu's sparkplug_b.proto, written down here as a
descriptor, with the fields that a device needs to publish data.

By its section 6.4 (tck-id-payloads-name-birth-data-requirement and others) the payload and every metric carry a timestamp in
milliseconds; after a birth metrics go by alias, and need not repeat their datatype.
"""

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

INT32 = 3  # of Sparkplug's datatypes

_FIELD = descriptor_pb2.FieldDescriptorProto
_U32, _U64, _DOUBLE = _FIELD.TYPE_UINT32, _FIELD.TYPE_UINT64, _FIELD.TYPE_DOUBLE
_STRING, _BOOL = _FIELD.TYPE_STRING, _FIELD.TYPE_BOOL
_MESSAGES: dict[str, tuple[tuple[str, int, int | str, bool], ...]] = {
    "Payload": (("timestamp", 1, _U64, False), ("metrics", 2, "Metric", True), ("seq", 3, _U64, False)),
    "Metric": (
        ("name", 1, _STRING, False),
        ("alias", 2, _U64, False),
        ("timestamp", 3, _U64, False),
        ("datatype", 4, _U32, False),
        ("is_historical", 5, _BOOL, False),
        ("int_value", 10, _U32, False),
        ("long_value", 11, _U64, False),
        ("double_value", 13, _DOUBLE, False),
        ("string_value", 15, _STRING, False),
        ("dataset_value", 17, "DataSet", False),
    ),
    "DataSet": (
        ("num_of_columns", 1, _U64, False),
        ("columns", 2, _STRING, True),
        ("types", 3, _U32, True),
        ("rows", 4, "Row", True),
    ),
    "Row": (("elements", 1, "Value", True),),
    "Value": (("int_value", 1, _U32, False), ("long_value", 2, _U64, False), ("double_value", 4, _DOUBLE, False)),
}


@cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="sparkplug", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                message.field.add(
                    name=field, number=number, label=label, type=_FIELD.TYPE_MESSAGE, type_name=f".sparkplug.{kind}"
                )
            else:
                message.field.add(name=field, number=number, label=label, type=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"sparkplug.{name}")) for name in _MESSAGES}


class Payload:
    """One payload; `timestamp_s` UTC. Metrics are added, then `encode` gives the bytes: what a peer's decoder would be given."""

    def __init__(self, timestamp_s: int, seq: int) -> None:
        self._message = _classes()["Payload"](timestamp=1000 * timestamp_s, seq=seq % 256)

    def metric(self, alias: int, value: int, timestamp_s: int, name: str = "", historical: bool = False) -> None:
        """An integer by its alias; with `name` and datatype, as in a birth."""
        metric = self._message.metrics.add(alias=alias, timestamp=1000 * timestamp_s)
        metric.int_value = value & 0xFFFFFFFF
        if name:
            metric.name, metric.datatype = name, INT32
        if historical:
            metric.is_historical = True

    def table(self, alias: int, timestamp_s: int, columns: dict[str, list[int]]) -> None:
        """A DataSet of integers, a row for each sample: the compact form for series."""
        metric = self._message.metrics.add(alias=alias, timestamp=1000 * timestamp_s)
        data = metric.dataset_value
        data.num_of_columns = len(columns)
        data.columns.extend(columns)
        data.types.extend([INT32] * len(columns))
        for values in zip(*columns.values(), strict=True):
            row = data.rows.add()
            for value in values:
                row.elements.add(int_value=value & 0xFFFFFFFF)

    def encode(self) -> bytes:
        return bytes(self._message.SerializeToString())
