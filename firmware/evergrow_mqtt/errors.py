"""What can go wrong, as types. Every exception this package raises on purpose is a `MqttError`."""

from . import reasons


class MqttError(Exception):
    """Base of the family; never raised itself."""


class Closed(MqttError):
    """The client was closed: it will not connect again, and what was waiting is given up."""


class Refused(MqttError):
    """The server, or a limit it announced, refuses what was asked. Asking again unchanged will not help.

    `code`: the reason code of MQTT 5 (§2.4), also where a 3.1.1 server said it in its own numbers.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (reason 0x{code:02x})")
        self.code = code

    @property
    def permanent(self) -> bool:
        """True if reconnecting soon cannot help (bad credentials, banned, unsupported version, ...)."""
        return reasons.is_permanent(self.code)


class ProtocolViolation(MqttError):
    """The peer sent bytes that MQTT does not allow, or not here. `code` is what our DISCONNECT says about it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (reason 0x{code:02x})")
        self.code = code


class LinkError(MqttError):
    """The network failed: no connection, a lost one, a silent one. `cause` is the OSError, where there was one."""

    def __init__(self, text: str, cause: "Exception | None" = None) -> None:
        super().__init__(text if cause is None else f"{text}: {cause!r}")
        self.cause = cause


class TlsError(LinkError):
    """TLS failed: an untrusted, expired or wrongly named server certificate, or the server left before CONNACK, as one does
    that refuses ours.
    """


class HandlerError(MqttError):
    """The application raised `cause` while it handled something of ours; that connection was ended for it."""

    def __init__(self, text: str, cause: Exception) -> None:
        super().__init__(f"{text}: {cause!r}")
        self.cause = cause
