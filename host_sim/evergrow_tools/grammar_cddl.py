"""`protocol/evergrow.cddl` from the message table: the grammar (RFC 8610) of every payload.

What CDDL cannot say is said in SPEC.md alone: deterministic encoding, columns of equal length, what a number means.
"""

from collections.abc import Iterator

from evergrow_protocol.message_table import Field, Kind, MessageTable, Type

_HEAD = """\
; The grammar of every payload of the Evergrow protocol, version 1.{minor} (RFC 8610).
; Generated from evergrow_protocol/messages.toml by evergrow_tools.grammar_gen: do not edit.
;
; A payload of the topic eg1/TENANT/DEVICE/up/usage is one item that matches the rule up-usage, and so on.
; `* value` and `* uint => value` are what a newer version may add (EG-ENC-003, EG-ENC-006). Negative keys match nothing: they
; are critical. `^=>` is a cut: a key that is known must have the type that is said here.
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
            lines += [*_rule(one), ""]
    lines += [
        "; What a newer version may add: no floats, tags or undefined (EG-ENC-002).",
        "value = int / bstr / tstr / bool / null / [* value] / {* int => value}",
        "",
    ]
    return "\n".join(lines)


def _payload(kind: Kind) -> str:
    if not kind.up:
        return kind.body
    return f"envelope<{kind.body}>" + (f" / [+ envelope<{kind.body}>]" if kind.bundle else "")


def _rule(one: Type) -> Iterator[str]:
    for comment in _comments(one):
        yield f"; {comment}"
    match one.shape:
        case "int":
            yield f"{one.name} = {one.least}..{one.most}"
        case "bytes":
            yield f"{one.name} = bstr .size " + (str(one.most) if one.least == one.most else f"({one.least}..{one.most})")
        case "text":
            yield f"{one.name} = tstr .size ({one.least}..{one.most})"
        case "choice":
            yield f"{one.name} = {' / '.join(one.of)}"
        case "list":
            yield f"{one.name} = [{one.least or ''}*{one.most or ''} {_name(one.of[0])}]"
        case "rows":
            row = ", ".join(f"{field.name}: {_name(field.type)}" for field in one.fields)
            yield f"{one.name} = [*{one.most} ({row})]"
        case "table":
            yield f"{one.name} = {{*{one.most or ''} {_name(one.of[0])} => {_name(one.of[1])}}}"
        case "array":
            generic = one.name == "envelope"
            yield f"{one.name}{'<body>' if generic else ''} = [{_elements(one.fields, generic)}]"
        case "map":
            if not one.fields:
                yield f"{one.name} = {{* uint => value}}"
                return
            yield f"{one.name} = {{"
            for field in one.fields:
                yield f"  {'? ' if field.optional else ''}{field.key} ^=> {_name(field.type)}, ; {_words(field)}"
            yield "  * uint => value"
            yield "}"


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


def _elements(fields: tuple[Field, ...], generic: bool) -> str:
    """The inside of an array. Each optional element stands in a group with all that may follow it, so that one of a wrong type
    is not taken for something that a newer version has added."""
    if not fields:
        return "* value"
    field, rest = fields[0], fields[1:]
    own = f"{field.name}: {'body' if generic and field.name == 'body' else _name(field.type)}"
    inner = f"{own}, {_elements(rest, generic)}"
    if not field.optional:
        return inner
    if field.distinct:
        return f"? ({inner} // {_elements(rest, generic).removeprefix('? ')})"
    return f"? ({inner})"


def _words(field: Field) -> str:
    return f"{field.name}: {field.description}" if field.description else field.name


def _name(type: str) -> str:
    return "value" if type == "any" else type
