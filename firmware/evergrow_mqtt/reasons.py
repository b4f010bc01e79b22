"""Reason codes this client sends or decides upon (MQTT 5 §2.4). Every other code is passed on as a number."""

SUCCESS = 0x00
UNSPECIFIED = 0x80
MALFORMED = 0x81
PROTOCOL_ERROR = 0x82
IMPLEMENTATION_SPECIFIC = 0x83
UNSUPPORTED_VERSION = 0x84
CLIENT_ID_NOT_VALID = 0x85
BAD_USERNAME_OR_PASSWORD = 0x86
NOT_AUTHORISED = 0x87
SERVER_UNAVAILABLE = 0x88
BANNED = 0x8A
BAD_AUTHENTICATION_METHOD = 0x8C
SESSION_TAKEN_OVER = 0x8E
TOPIC_FILTER_INVALID = 0x8F
TOPIC_NAME_INVALID = 0x90
TOPIC_ALIAS_INVALID = 0x94
PACKET_TOO_LARGE = 0x95
RETAIN_NOT_SUPPORTED = 0x9A
QOS_NOT_SUPPORTED = 0x9B
USE_ANOTHER_SERVER = 0x9C
SERVER_MOVED = 0x9D
WILDCARD_NOT_SUPPORTED = 0xA2

# Trying again soon cannot help: a person, a configuration or another device has to change something first.
# 0x8E is among them because two devices with one client id would otherwise throw each other out for ever.
_PERMANENT = bytes(
    (
        UNSUPPORTED_VERSION,
        CLIENT_ID_NOT_VALID,
        BAD_USERNAME_OR_PASSWORD,
        NOT_AUTHORISED,
        BANNED,
        BAD_AUTHENTICATION_METHOD,
        SESSION_TAKEN_OVER,
        USE_ANOTHER_SERVER,
        SERVER_MOVED,
    )
)

# CONNACK return codes of MQTT 3.1.1 (§3.2.2.3, table 3.1) as reason codes of MQTT 5.
_V4_CONNACK = bytes(
    (SUCCESS, UNSUPPORTED_VERSION, CLIENT_ID_NOT_VALID, SERVER_UNAVAILABLE, BAD_USERNAME_OR_PASSWORD, NOT_AUTHORISED)
)


def is_permanent(code: int) -> bool:
    """True for a refusal that will be repeated however often it is asked for."""
    return code in _PERMANENT


def from_v4_connack(code: int) -> int:
    """The MQTT 5 reason code for a 3.1.1 CONNACK return code; an unknown one is UNSPECIFIED."""
    return _V4_CONNACK[code] if code < len(_V4_CONNACK) else UNSPECIFIED
