"""Topics `eg1/{tenant}/{device}/{up|dn}/{kind}` (SPEC section 2)."""

from evergrow_protocol.errors import BAD_TYPE, MALFORMED, OUT_OF_RANGE, UNKNOWN_KIND, ProtocolError

MAJOR = "eg1"
_ID_MAX = 32

# kind: (QoS, retained)
UP = {
    "birth": (1, True),
    "state": (1, True),
    "sync": (1, False),
    "usage": (1, False),
    "tele": (0, False),
    "rsp": (1, False),
    "get": (0, False),
    "feat": (1, False),
    "ent": (1, False),
    "event": (1, False),
    "voice": (1, False),
}
DN = {
    "welcome": (1, False),
    "ack": (1, False),
    "cmd": (1, False),
    "cfg": (1, False),
    "busy": (1, False),
    "offer": (1, False),
    "block": (0, False),
    "cancel": (1, False),
    "ent": (1, False),
    "heard": (1, False),
}
# Below `eg1/{tenant}/home/{home}/`, for all appliances of a home.
HOME = {
    "event": (1, False),
    "scene": (1, False),
}
_HOME = "home"  # no device is called that


def check_id(text: str) -> str:
    """Return `text` if it is a tenant or device id, `[a-z0-9-]{1,32}` (EG-TOP-001); otherwise raise ProtocolError 4 or 5."""
    if not isinstance(text, str):
        raise ProtocolError(BAD_TYPE, "an id is text")
    if not 1 <= len(text) <= _ID_MAX:
        raise ProtocolError(OUT_OF_RANGE, f"an id has 1 to {_ID_MAX} characters, not {len(text)}")
    for char in text:
        if not ("a" <= char <= "z" or "0" <= char <= "9" or char == "-"):
            raise ProtocolError(OUT_OF_RANGE, f"an id is made of a-z, 0-9 and '-', not {char!r}")
    return text


def up(tenant: str, device: str, kind: str) -> str:
    """Topic from the device to the cloud. Raises ProtocolError 3 for an unknown kind, 4 or 5 for a bad id."""
    return _topic(tenant, device, "up", kind, UP)


def dn(tenant: str, device: str, kind: str) -> str:
    """Topic from the cloud to the device. Errors as `up`."""
    return _topic(tenant, device, "dn", kind, DN)


def home(tenant: str, home_id: str, kind: str) -> str:
    """Topic of a home. Errors as `up`."""
    if kind not in HOME:
        raise ProtocolError(UNKNOWN_KIND, f"no kind home/{kind}")
    return f"{MAJOR}/{check_id(tenant)}/{_HOME}/{check_id(home_id)}/{kind}"


def home_filter(tenant: str, home_id: str) -> str:
    """The subscription of a device that belongs to a home (EG-HOME-001)."""
    return f"{MAJOR}/{check_id(tenant)}/{_HOME}/{check_id(home_id)}/+"


def check_device(text: str) -> str:
    """Return `text` if it is a device id: as `check_id`, but not "home"."""
    if text == _HOME:
        raise ProtocolError(OUT_OF_RANGE, "a device is not called 'home': that is where homes have their topics")
    return check_id(text)


def dn_filter(tenant: str, device: str) -> str:
    """The one subscription of a device (EG-TOP-002)."""
    return f"{MAJOR}/{check_id(tenant)}/{check_device(device)}/dn/#"


def parse(topic: str) -> "tuple[str, str, str, str]":
    """Split a topic into (tenant, device, direction, kind); of a home's the direction is "home", and the device is the home.

    Raises ProtocolError: 1 for another shape or major version, 3 for an unknown direction or kind, 5 for a bad id.
    """
    parts = topic.split("/")
    if len(parts) != 5 or parts[0] != MAJOR:
        raise ProtocolError(MALFORMED, f"a topic is {MAJOR}/tenant/device/up|dn/kind")
    _, tenant, device, direction, kind = parts
    check_id(tenant)
    if device == _HOME:
        device, direction = check_id(direction), _HOME
        kinds = HOME
    else:
        check_id(device)
        kinds = UP if direction == "up" else DN if direction == "dn" else {}
    if kind not in kinds:
        raise ProtocolError(UNKNOWN_KIND, "no such kind of message")
    return tenant, device, direction, kind


def _topic(tenant: str, device: str, direction: str, kind: str, kinds: "dict[str, tuple[int, bool]]") -> str:
    if kind not in kinds:
        raise ProtocolError(UNKNOWN_KIND, f"no kind {direction}/{kind}")
    return f"{MAJOR}/{check_id(tenant)}/{check_device(device)}/{direction}/{kind}"
