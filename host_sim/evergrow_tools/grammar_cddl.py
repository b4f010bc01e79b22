"""`protocol/evergrow.cddl` from the message table: the grammar (RFC 8610) of every payload.

What CDDL cannot say is said in SPEC.md alone: deterministic encoding, columns of equal length, what a number means. Where one
field decides about another, or one of two must be there, the rule has a choice of groups.
"""

from collections.abc import Iterator

from evergrow_protocol.message_table import Field, Kind, MessageTable, Type

_LEAST, _MOST = -(2**63), 2**63 - 1  # of integers on the wire (EG-ENC-002)
_HEAD = """\
; The grammar of every payload of the Evergrow protocol, version 1.{minor} (RFC 8610).
; Generated from evergrow_protocol/messages.toml by evergrow_tools.grammar_gen: do not edit.
;
; A payload of the topic eg1/TENANT/DEVICE/up/usage is one item that matches the rule up-usage, and so on.
; `* value` and `* key => value` are what a newer version may add (EG-ENC-003, EG-ENC-006). Negative keys match nothing: they
; are critical. `^=>` is a cut: a key that is known must have the type that is said here. A choice (`//`) has no cuts.
; SPEC.md says what the grammar cannot: deterministic encoding, and what the numbers mean.
"""


def render(table: MessageTable) -> str:
    """The whole file."""
    lines = [_HEAD.format(minor=table.minor), "; -- a payload is one of", ""]
    names = [kind.rule_name for kind in table.kinds.values()]
    lines += ["payload = " + "\n        / ".join(names), ""]
    for kind in table.kinds.values():
        lines += [f"; {kind.description} (SPEC.md section {kind.section})", f"{kind.rule_name} = {_payload(kind)}", ""]
    lines += ["; -- what they are made of", ""]
    for one in table.types.values():
        if one.shape != "bool" and one.name != "any":
            lines += [*_rule(table, one), ""]
    lines += [
        "; What a newer version may add: no floats, tags or undefined (EG-ENC-002).",
        "value = integer / bstr / tstr / bool / null / [* value] / {* integer => value}",
        f"integer = {_LEAST}..{_MOST}",
        f"key = 0..{_MOST}",
        "",
    ]
    return "\n".join(lines)


def _payload(kind: Kind) -> str:
    if not kind.up:
        return kind.body
    envelope = f"envelope<{'uint32' if kind.will else 'counted'}, {kind.body}>"
    return envelope + (f" / [+ {envelope}]" if kind.bundle else "")


def _rule(table: MessageTable, one: Type) -> Iterator[str]:
    for comment in _comments(one):
        yield f"; {comment}"
    match one.shape:
        case "int":
            yield f"{one.name} = {one.least}..{one.most}"
        case "bytes":
            yield f"{one.name} = bstr .size " + (str(one.most) if one.least == one.most else f"({one.least}..{one.most})")
        case "text":
            yield f"{one.name} = tstr " + (f'.regexp "{one.pattern}"' if one.pattern else f".size ({one.least}..{one.most})")
        case "choice":
            yield f"{one.name} = {' / '.join(one.of)}"
        case "list":
            yield f"{one.name} = [{one.least or ''}*{one.most or ''} {_name(one.of[0])}]"
        case "rows":
            row = ", ".join(f"{field.name}: {_name(field.type)}" for field in one.fields)
            yield f"{one.name} = [*{one.most} ({row})]"
        case "table":
            yield f"{one.name} = {{{one.least or ''}*{one.most or ''} {_name(one.of[0])} => {_name(one.of[1])}}}"
        case "array":
            generic = one.name == "envelope"
            yield f"{one.name}{'<seq, body>' if generic else ''} = [{_elements(table, one.fields, generic)}]"
        case "map":
            if not one.fields:
                yield f"{one.name} = {{* key => value}}"
                return
            yield f"{one.name} = {{"
            yield from _choices(table, one)
            decided = {field.by for field in one.fields if field.by} | {field.name for field in one.fields if field.by}
            for field in one.fields:
                if field.name not in decided and field.name not in one.one_of:
                    yield f"  {'? ' if field.optional else ''}{field.key} ^=> {_name(field.type)}, ; {_words(field)}"
            others = max((field.key + 1 for field in one.fields if field.name in one.one_of), default=0)
            yield f"  * {f'from-{others}' if others else 'key'} => value"
            yield "}"
            if others:
                yield ""
                yield f"from-{others} = {others}..{_MOST}"


def _choices(table: MessageTable, one: Type) -> Iterator[str]:
    """Lines for the fields of a map of which one decides about another, or one excludes another."""
    for field in one.fields:
        if field.by:
            decides = next(other for other in one.fields if other.name == field.by)
            pairs = [f"{decides.key} => {value}, {field.key} => {type}" for value, type in _decided(table, decides, field)]
            yield f"  ({' // '.join(pairs)}), ; {_words(decides)}, {_words(field)}"
    if one.one_of:
        parts = [field for field in one.fields if field.name in one.one_of]
        instead = [field for field in one.fields if field.name == one.or_else]
        alternatives = " // ".join(f"{field.key} => {_name(field.type)}" for field in parts + instead)
        yield f"  ({alternatives}), ; {' / '.join(_words(field) for field in parts)}"


def _decided(table: MessageTable, decides: Field, field: Field) -> Iterator[tuple[str, str]]:
    """(values of the field that decides, in CDDL, the type of the other), also for all that the table does not name."""
    of, start = table.types[decides.type], table.types[decides.type].least
    rest: list[str] = []
    for value, type in field.types.items():
        yield str(value), _name(type)
        if start < value:
            rest.append(_range(start, value - 1))
        start = value + 1
    if start <= of.most:
        rest.append(_range(start, of.most))
    if rest:
        yield " / ".join(rest), _name(field.type)


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least}..{most}"


def _comments(one: Type) -> Iterator[str]:
    unit = {"utc": "", "": ""}.get(one.unit, f"in {one.unit}")
    table = f"ids of the registry's table {one.registry}" if one.registry and one.shape == "int" else ""
    said = ", ".join(text for text in (one.description, unit, table) if text)
    if said:
        yield said
    if one.values:
        yield ", ".join(f"{number} {text}" for number, text in one.values.items())
    if one.bits:
        yield ", ".join(f"bit {number}: {text}" for number, text in one.bits.items())


def _elements(table: MessageTable, fields: tuple[Field, ...], generic: bool) -> str:
    """The inside of an array. Each optional element stands in a group with all that may follow it, so that one of a wrong type
    is not taken for something that a newer version has added."""
    if not fields:
        return "* value"
    field, rest = fields[0], fields[1:]
    own = f"{field.name}: {field.name if generic and field.name in ('seq', 'body') else _name(field.type)}"
    inner = f"{own}, {_elements(table, rest, generic)}"
    if rest and rest[0].by == field.name:
        pairs = _decided(table, field, rest[0])
        choice = " // ".join(f"{field.name}: {value}, {rest[0].name}: {type}" for value, type in pairs)
        inner = f"({choice}), {_elements(table, rest[1:], generic)}"
    if not field.optional:
        return inner
    if field.distinct:
        return f"? ({inner} // {_elements(table, rest, generic).removeprefix('? ')})"
    return f"? ({inner})"


def _words(field: Field) -> str:
    return f"{field.name}: {field.description}" if field.description else field.name


def _name(type: str) -> str:
    return "value" if type == "any" else type
