"""What a minor version may not do (EG-VER-001): the message table of the last release against the present one.

`protocol/released-messages.toml` is a copy of messages.toml as `evergrow spec release` last found it.
"""

from collections.abc import Iterator

from evergrow_protocol.message_table import Field, MessageTable, Type


def breaks(released: MessageTable, now: MessageTable) -> list[str]:
    """What a peer of the released version would stumble over, one sentence each."""
    return [*_kinds(released, now), *_types(released, now)]


def _kinds(released: MessageTable, now: MessageTable) -> Iterator[str]:
    for name, before in released.kinds.items():
        kind = now.kinds.get(name)
        if kind is None:
            yield f"kind {name} is gone"
        elif (kind.body, kind.qos, kind.retained, kind.bundle) != (before.body, before.qos, before.retained, before.bundle):
            yield f"kind {name} has another body, QoS, retain flag or form"


def _types(released: MessageTable, now: MessageTable) -> Iterator[str]:
    for name, before in released.types.items():
        one = now.types.get(name)
        if one is None:
            yield f"type {name} is gone"
        elif (one.shape, one.codec, one.unit, one.of) != (before.shape, before.codec, before.unit, before.of):
            yield f"type {name} is another shape, unit or packing"
        else:
            yield from _bounds(before, one)
            yield from _fields(before, one)


def _bounds(before: Type, one: Type) -> Iterator[str]:
    if (one.least, one.most) != (before.least, before.most):
        was, now = f"{before.least}..{before.most}", f"{one.least}..{one.most}"
        yield f"type {one.name} was {was} and is {now}: a receiver of the other version refuses it"
    for numbers, what in ((before.values, one.values), (before.bits, one.bits)):
        for number, text in numbers.items():
            if what.get(number) != text:
                yield f"type {one.name}: {number} was {text!r} and is {what.get(number)!r}"


def _fields(before: Type, one: Type) -> Iterator[str]:
    known = list(before.fields)
    for place, field in enumerate(known):
        now = one.by_key(field.key) if one.shape == "map" else one.fields[place] if place < len(one.fields) else None
        yield from _field(one.name, field, now)
    added = [field for field in one.fields if before.by_name(field.name) is None]
    for field in added:
        if not field.optional:
            yield f"type {one.name}: {field.name} is new, and must be optional"


def _field(of: str, before: Field, now: Field | None) -> Iterator[str]:
    if now is None or now.name != before.name:
        yield f"type {of}: {before.name} is gone from its place"
    elif now.type != before.type:
        yield f"type {of}: {before.name} was of type {before.type} and is of type {now.type}"
    elif before.optional != now.optional:
        yield f"type {of}: {before.name} must stay {'optional' if before.optional else 'mandatory'}"
