"""`protocol/asyncapi.yaml` from the message table: topics, operations and messages in AsyncAPI 3, for generators of code.

Payloads are CBOR; what the schemas describe is the JSON with names that `evergrow decode --json` prints of them, see
`message_json`. The rule of evergrow.cddl that the bytes match stands beside each.
"""

import json
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from evergrow_protocol.message_table import Field, Kind, MessageTable, Type

_HEAD = """\
# Generated from evergrow_protocol/messages.toml and the test vectors by evergrow_tools.grammar_gen: do not edit.
"""
_ABOUT = (
    "Appliances report what they do, and receive what they can newly do. SPEC.md is the norm; this is an index to it. Payloads"
    " are deterministic CBOR, and evergrow.cddl is their grammar. The schemas here describe the JSON with names that"
    " `evergrow decode --json` prints of a payload, and `evergrow encode` reads: bytes are hex, bitmaps are lists of the numbers"
    " of their bits, keys that are not known are their numbers, elements behind the end stand at `more`. Operations are those of"
    " a device."
)
_ID = {"description": "1 to 32 of a-z, 0-9 and '-'; no personal data (EG-TOP-001)", "examples": ["acme"]}
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 _/.-]*")
_RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def render(table: MessageTable, examples: dict[str, list[tuple[str, Any]]]) -> str:
    """The whole file. `examples`: by kind, (name, message as JSON) of valid messages."""
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Evergrow protocol",
            "version": f"1.{table.minor}",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/cbor",
        "servers": {
            "broker": {"host": "broker.example:8883", "protocol": "secure-mqtt", "description": "MQTT 5, or 3.1.1, over TLS"},
        },
        "channels": {kind.rule_name: _channel(kind) for kind in table.kinds.values()},
        "operations": dict(_operations(table)),
        "components": {
            "parameters": {name: _ID for name in ("tenant", "device", "home")},
            "messages": {kind.rule_name: _message(kind, examples.get(kind.name, [])) for kind in table.kinds.values()},
            "schemas": schemas(table),
        },
    }
    return _HEAD + "\n".join(_yaml(document, 0)) + "\n"


def _channel(kind: Kind) -> dict[str, Any]:
    way, _, name = kind.name.partition("/")
    address = "eg1/{tenant}/home/{home}/" + name if way == "home" else "eg1/{tenant}/{device}/" + kind.name
    parameters = ("tenant", "home") if way == "home" else ("tenant", "device")
    return {
        "address": address,
        "description": f"{kind.description} (SPEC.md section {kind.section})",
        "parameters": {one: {"$ref": f"#/components/parameters/{one}"} for one in parameters},
        "messages": {kind.rule_name: {"$ref": f"#/components/messages/{kind.rule_name}"}},
    }


def _operations(table: MessageTable) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in table.kinds.values():
        way = kind.name.partition("/")[0]
        actions = {"up": ("send",), "dn": ("receive",)}.get(way, ("send", "receive"))
        for action in actions:
            name = f"{action}-{kind.rule_name}"
            binding = (
                {"qos": kind.qos, "retain": kind.retained, "bindingVersion": "0.2.0"} if action == "send" else {"qos": kind.qos}
            )
            yield (
                name,
                {
                    "action": action,
                    "summary": kind.description,
                    "channel": {"$ref": f"#/channels/{kind.rule_name}"},
                    "messages": [{"$ref": f"#/channels/{kind.rule_name}/messages/{kind.rule_name}"}],
                    "bindings": {"mqtt": binding},
                },
            )


def _message(kind: Kind, examples: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": kind.name,
        "title": kind.description,
        "contentType": "application/cbor",
        "x-cddl": {"file": "evergrow.cddl", "rule": kind.rule_name},
        "payload": {"$ref": f"#/components/schemas/{kind.rule_name}"},
    }
    if examples:
        found["examples"] = [
            {"name": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"), "payload": one} for name, one in examples
        ]
    return found


def schemas(table: MessageTable) -> dict[str, Any]:
    """JSON Schema of each kind (`up-usage`) and each type, of the JSON with names; references are as within the document."""
    found: dict[str, Any] = {}
    for kind in table.kinds.values():
        body = {"$ref": f"#/components/schemas/{kind.body}"}
        if not kind.up:
            found[kind.rule_name] = body
            continue
        envelope = _array(table.types["envelope"], body)
        found[kind.rule_name] = (
            {"oneOf": [envelope, {"type": "array", "items": envelope, "minItems": 1}]} if kind.bundle else envelope
        )
    for one in table.types.values():
        if one.name != "envelope":
            found[one.name] = _schema(one)
    return found


def _schema(one: Type) -> dict[str, Any]:
    said = ", ".join(text for text in (one.description, f"in {one.unit}" if one.unit not in ("", "utc") else "") if text)
    numbers = "; ".join(f"{number} {text}" for number, text in one.values.items())
    bits = "; ".join(f"bit {number}: {text}" for number, text in one.bits.items())
    registry = f"an id of the registry's table {one.registry}" if one.registry and one.shape == "int" else ""
    description = ". ".join(text for text in (said, numbers, bits, registry) if text)
    return {**_shape(one), **({"description": description} if description else {})}


def _shape(one: Type) -> dict[str, Any]:
    if one.codec:
        return {"type": "array", "items": {"type": "integer"}}
    match one.shape:
        case "int":
            return {"type": "integer", "minimum": one.least, "maximum": one.most}
        case "bytes":
            return {"type": "string", "pattern": "^([0-9a-f]{2})*$", "minLength": 2 * one.least, "maxLength": 2 * one.most}
        case "text":
            pattern = {"pattern": f"^{one.pattern}$"} if one.pattern else {}
            return {"type": "string", "maxLength": one.most} | ({"minLength": one.least} if one.least else {}) | pattern
        case "bool":
            return {"type": "boolean"}
        case "array":
            return _array(one, None)
        case "map":
            properties = {field.name: _of(field) for field in one.fields}
            required = [field.name for field in one.fields if not field.optional]
            found = _object(properties, required) | {"patternProperties": {"^[0-9]+$": {}}}
            return found | _one_of(one)
        case "list":
            return {"type": "array", "items": _ref(one.of[0])} | _counts(one, "Items")
        case "rows":
            row = _object({field.name: _of(field) for field in one.fields}, [field.name for field in one.fields])
            return {"type": "array", "items": row} | _counts(one, "Items")
        case "table":
            return {"type": "object", "additionalProperties": _ref(one.of[1])} | _counts(one, "Properties")
        case "choice":
            return {"oneOf": [_ref(name) for name in one.of]}
    return {}


def _array(one: Type, body: dict[str, Any] | None) -> dict[str, Any]:
    properties = {field.name: body if body is not None and field.name == "body" else _of(field) for field in one.fields}
    properties["more"] = {"type": "array"}
    return _object(properties, [field.name for field in takewhile(lambda field: not field.optional, one.fields)])


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "additionalProperties": False}
    if properties:
        found["properties"] = properties
    if required:
        found["required"] = required
    return found


def _of(field: Field) -> dict[str, Any]:
    if field.by:
        return {"description": f"depends on {field.by}"}
    return _ref(field.type)


def _ref(type: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{type}"}


def _counts(one: Type, what: str) -> dict[str, int]:
    return ({f"min{what}": one.least} if one.least else {}) | ({f"max{what}": one.most} if one.most else {})


def _yaml(value: Any, depth: int) -> Iterator[str]:
    """Lines of a mapping or a list, in the block style; what is in an example, on one line."""
    pad = "  " * depth
    pairs = [(f"{_key(key)}:", one) for key, one in value.items()] if isinstance(value, dict) else [("-", one) for one in value]
    for head, one in pairs:
        if not isinstance(one, dict | list) or not one or (head in ("payload:", "required:") and not _is_ref(one)):
            yield f"{pad}{head} {_scalar(one)}"
        elif head == "-":
            first, *rest = _yaml(one, depth + 1)
            yield f"{pad}- {first.lstrip()}"
            yield from rest
        else:
            yield f"{pad}{head}"
            yield from _yaml(one, depth + 1)


def _is_ref(value: Any) -> bool:
    return isinstance(value, dict) and "$ref" in value


def _key(key: str) -> str:
    return key if _PLAIN.fullmatch(key) and key.lower() not in _RESERVED else json.dumps(key)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _RESERVED and not value.endswith(" "):
        return value
    return json.dumps(value, ensure_ascii=False)


def _one_of(one: Type) -> dict[str, Any]:
    """Which fields exclude one another, and what stands in for them."""
    if not one.one_of:
        return {}
    each: list[dict[str, Any]] = [{"required": [name]} for name in one.one_of]
    if one.or_else:
        each.append({"required": [one.or_else], "not": {"anyOf": each[:]}})
    return {"oneOf": each}
