"""The test vectors of protocol/vectors, as a device meets them: it must read what is sent to it, and could write what it sends.

Run in the project's folder, as `make test` does.
"""

import json

from evergrow_agent import settings
from evergrow_agent.commands import Commands
from evergrow_protocol import messages, topics
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.errors import ProtocolError

HEAP = "1M"
FOLDER = "protocol/vectors/"

PARSERS = {
    "ack": messages.parse_ack,
    "offer": messages.parse_offer,
    "cancel": lambda data: (messages.parse_cancel(data),),
    "block": messages.parse_block,
    "heard": messages.parse_heard,
    "busy": messages.parse_busy,
    "home/event": messages.parse_home_event,
    "home/scene": messages.parse_scene,
}
RECEIVED = [f"dn/{kind}" for kind in topics.DN] + [f"home/{kind}" for kind in topics.HOME]


def vectors(kind, *expectations):
    with open(f"{FOLDER}{kind.replace('/', '-')}.json") as file:
        listed = json.load(file)["vectors"]
    return [one for one in listed if one["expect"] in expectations]


def read(kind, data):
    """What the device makes of a message, as plain values."""
    kind = kind[3:] if kind.startswith("dn/") else kind
    if kind == "cmd":
        return command(data)
    if kind == "ent":
        return bytes(messages.parse_entitlement(data))
    if kind == "welcome":
        boot, seq, utc_s, ext = messages.parse_welcome(data)
        return boot, seq, utc_s, ext.get(messages.WELCOME_CREDITS)
    if kind == "cfg":
        version, values = messages.parse_config(data)
        sets, keepalive_s, home, features = settings.check(values)
        return version, sets and len(sets), keepalive_s, home, features
    return tuple([bytes(value) if isinstance(value, memoryview) else value for value in PARSERS[kind](data)])


class Obliging:
    """Appliance, cycle, clock and flash that let everything happen, and keep nothing."""

    remote_enable = True

    def start(self, programme, now_ms, accepted):
        pass

    def stop(self, now_ms):
        pass

    def utc_s(self):
        return 0

    def read(self, name):
        raise OSError("no flash")


def command(data):
    """The id of a command that the device takes; ProtocolError with its code otherwise."""
    anything = Obliging()
    commands = Commands(anything, anything, anything, anything)
    commands.acknowledge = commands.rebirth = lambda *_: None
    commands.consent = commands.remove = lambda publisher, *_: publisher <= 0xFFFF  # of others there is no feature
    command_id, code = commands.handle(data, 0)
    if code:
        raise ProtocolError(code, "refused")
    return command_id


def code_of(function, *args):
    """The code that it raises, or 0."""
    try:
        function(*args)
    except ProtocolError as error:
        return error.code
    return 0


def test_what_is_valid_is_read():
    """EG-ENC-003, EG-ENC-006, EG-ENC-007"""
    for kind in RECEIVED:
        for vector in vectors(kind, "valid", "newer"):
            assert read(kind, bytes.fromhex(vector["hex"])), (kind, vector["name"])


def test_what_is_newer_is_read_as_if_what_is_not_known_were_not_there():
    """EG-ENC-006"""
    for kind in RECEIVED:
        first = read(kind, bytes.fromhex(vectors(kind, "valid")[0]["hex"]))
        for vector in vectors(kind, "newer"):
            if "elements behind" in vector["name"]:
                assert read(kind, bytes.fromhex(vector["hex"])) == first, (kind, vector["name"])


def test_what_is_invalid_has_its_code():
    """EG-ENC-004, EG-ENC-005, EG-ENC-007"""
    for kind in RECEIVED:
        for vector in vectors(kind, "invalid"):
            code = code_of(read, kind, bytes.fromhex(vector["hex"]))
            assert code == vector["code"], (kind, vector["name"], code)


def test_what_goes_up_is_what_the_device_would_write():
    """EG-ENC-001: its own codec reads each message and writes the same bytes."""
    for kind in topics.UP:
        for vector in vectors(f"up/{kind}", "valid", "newer"):
            data = bytes.fromhex(vector["hex"])
            assert dumps(loads(data, items=2048, deterministic=True)) == data, (kind, vector["name"])


def test_bad_encodings_are_seen_by_the_codec():
    """EG-ENC-001"""
    for kind in topics.UP:
        for vector in vectors(f"up/{kind}", "invalid"):
            if vector["rule"] == "EG-ENC-001":
                code = code_of(lambda data: loads(data, deterministic=True), bytes.fromhex(vector["hex"]))
                assert code == vector["code"], (kind, vector["name"], code)
