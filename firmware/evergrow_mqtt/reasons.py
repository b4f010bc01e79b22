"""Reason codes this client sends or decides upon (MQTT 5 §2.4). Every other code is passed on as a number."""

SUCCESS = 0x00
UNSPECIFIED = 0x80
MALFORMED = 0x81
PROTOCOL_ERROR = 0x82
IMPLEMENTATION_SPECIFIC = 0x83
UNSUPPORTED_VERSION = 0x84
NOT_AUTHORISED = 0x87
TOPIC_FILTER_INVALID = 0x8F
TOPIC_NAME_INVALID = 0x90
TOPIC_ALIAS_INVALID = 0x94
PACKET_TOO_LARGE = 0x95
RETAIN_NOT_SUPPORTED = 0x9A
QOS_NOT_SUPPORTED = 0x9B
WILDCARD_NOT_SUPPORTED = 0xA2

# Trying again soon cannot help: a person, a configuration or another device has to change something first. Unsupported
# version, client id not valid, bad user name or password, not authorised, banned, bad authentication method, session taken
# over (two devices of one client id would otherwise throw each other out for ever), use another server, server moved.
_PERMANENT = b"\x84\x85\x86\x87\x8a\x8c\x8e\x9c\x9d"

# CONNACK return codes of MQTT 3.1.1 (§3.2.2.3, table 3.1) as reason codes of MQTT 5: accepted, unsupported version, client id
# not valid, server unavailable, bad user name or password, not authorised.
_V4_CONNACK = b"\x00\x84\x85\x88\x86\x87"


def is_permanent(code: int) -> bool:
    """True for a refusal that will be repeated however often it is asked for."""
    return code in _PERMANENT


def from_v4_connack(code: int) -> int:
    """The MQTT 5 reason code for a 3.1.1 CONNACK return code; an unknown one is UNSPECIFIED."""
    return _V4_CONNACK[code] if code < len(_V4_CONNACK) else UNSPECIFIED
