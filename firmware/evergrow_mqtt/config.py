"""What a client is told once, checked once. Nothing here is read from anywhere else."""

_MIN_BUFFER = 128


class Config:
    """Settings of one client; ValueError for one that cannot work.

    `client_id`: "" lets an MQTT 5 server assign one. `tls`: None, or what `tls.client_tls()` made; handed to the
    `net` port unread. `password` may be bytes. `will`: None or (topic, payload, qos, retain).
    `clean_start=False` with `session_expiry_s` > 0 resumes the session: the server keeps subscriptions and queued QoS 1
    messages over a lost link. A client that has just booted counts as one with an empty session state, so that what was
    queued for it before still arrives (MQTT 5 §3.2.2.1.1 lets a client with no state at all refuse that).
    `rx_bytes`: the largest packet taken in whole; a larger one is drained and reported. `tx_bytes`: room for PUBLISH packets
    that are queued or not yet acknowledged. Both are allocated once. `packet_bytes`: the largest packet that the server may
    send, 0 for `rx_bytes`: a message that is larger than the buffer is then handed over in parts, as it arrives.
    `receive_maximum`: QoS 1 messages that the server may have under way to us at once (MQTT 5 only).
    `topic_aliases`: how many topics may be shortened to an alias where the server allows it; 0 for none.
    `rx_aliases`: how many topics the server may shorten to us (MQTT 5 only); each costs its text. Not for rumqttd (iotcore),
    which gives one alias to all the topics of a wildcard subscription.
    `version`: 5, 4 (which is 3.1.1), or 0 for 5 with fallback to 4.
    `connect_timeout_ms`: name look-up, TCP, TLS and CONNACK together. `ping_grace_ms`: silence after a PINGREQ that means a
    dead link, at most the keepalive. `ack_timeout_ms`: a server that is alive but acknowledges nothing for this long is left.
    `backoff_*`: full jitter below base * 2^n, up to cap; after a permanent refusal half to all of `refused_backoff_ms`.
    """

    def __init__(
        self,
        client_id: str,
        host: str,
        port: int,
        tls: "object | None" = None,
        username: "str | None" = None,
        password: "str | bytes | None" = None,
        keepalive_s: int = 60,
        clean_start: bool = False,
        session_expiry_s: int = 86400,
        will: "tuple[str, bytes, int, bool] | None" = None,
        rx_bytes: int = 4096,
        tx_bytes: int = 4096,
        receive_maximum: int = 8,
        version: int = 5,
        topic_aliases: int = 8,
        connect_timeout_ms: int = 20_000,
        ping_grace_ms: int = 10_000,
        ack_timeout_ms: int = 60_000,
        backoff_base_ms: int = 1_000,
        backoff_cap_ms: int = 120_000,
        refused_backoff_ms: int = 900_000,
        rx_aliases: int = 0,
        packet_bytes: int = 0,
    ) -> None:
        _between("keepalive_s", keepalive_s, 1, 0xFFFF)
        _between("session_expiry_s", session_expiry_s, 0, 0xFFFF_FFFF)
        _between("rx_bytes", rx_bytes, _MIN_BUFFER, 0x1000_0000)
        _between("tx_bytes", tx_bytes, _MIN_BUFFER, 0x1000_0000)
        _between("receive_maximum", receive_maximum, 1, 0xFFFF)
        _between("rx_aliases", rx_aliases, 0, 0xFFFF)
        _between("packet_bytes", packet_bytes, 0, 0x1000_0000)
        if version not in (0, 4, 5):
            raise ValueError(f"version is {version}, not 5, 4 or 0")
        if will is not None:
            _between("will QoS", will[2], 0, 1)
        if not client_id and not clean_start and version != 5:
            raise ValueError("an empty client_id needs clean_start before MQTT 5")
        self.client_id = client_id
        self.host = host
        self.port = port
        self.tls = tls
        self.username = username
        self.password = password
        self.keepalive_s = keepalive_s
        self.clean_start = clean_start
        self.session_expiry_s = session_expiry_s
        self.will = will
        self.rx_bytes = rx_bytes
        self.packet_bytes = packet_bytes
        self.tx_bytes = tx_bytes
        self.receive_maximum = receive_maximum
        self.version = version
        self.topic_aliases = topic_aliases
        self.rx_aliases = rx_aliases
        self.connect_timeout_ms = connect_timeout_ms
        self.ping_grace_ms = ping_grace_ms
        self.ack_timeout_ms = ack_timeout_ms
        self.backoff_base_ms = backoff_base_ms
        self.backoff_cap_ms = backoff_cap_ms
        self.refused_backoff_ms = refused_backoff_ms


def _between(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, not within {low}..{high}")
