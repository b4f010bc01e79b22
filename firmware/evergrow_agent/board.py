"""What the agent is handed: a Board of ports, the device's identity, and its configuration.

The ports are duck types; errors of the hardware are OSError.

clock      `ticks_ms()` ms since boot, monotonic, never wraps; `async sleep_ms(ms)`; `utc_s()` -> seconds or None; `set_utc_s(s)`
net        `clock`: the time the network lives in, the board's own on hardware; `async connect(host, port, tls)` -> stream with
           `async readinto(buf)` -> bytes read, 0 at the end, `async write(buf)`, `async close()`
flash      flat names `[a-z0-9._-]{1,32}`: `read(name)` -> bytes or None; `readinto(name, offset, buf)` -> bytes read;
           `write(name, data)` atomic and durable; `append(name, data)` durable on return, a power cut may leave a prefix;
           `size(name)` -> bytes or -1; `remove(name)`; `rename(old, new)` atomic; `names()`; `free()` -> bytes. See `fsflash`
random     `bytes(n)`
watchdog   `feed()`; `timeout_ms` after which it bites, may be left out if that is 8 s or more
work       may be left out: `ticks_ms()` of the processor's work on what runs here, where a host does other things besides: by it,
           calls of features are measured, by `net.clock` without it
appliance  `class_id`; `signals` and `read(signal)` -> integer in the registry's scale; `write(actuator, value)`;
           `limits` {actuator: (min, max)}; `unlockable` {actuator: absolute max}; `interlocks` (see `guard`);
           `safe_state`, `rest_state` {actuator: value}; `meters` (see `runner`); `programmes` {id: encoded}; `ending`, encoded;
           `remote_enable`: whether a person at the appliance allowed it to be started from afar
           and, where there is need: `alarms` (see `alarms`); `control` (see `control`); `base_programme`, the id of a continuous
           one that runs whenever no other does; `dials` {name: actuator}, what a person may set, by `Guard.preset`, which changes
           `safe_state`: to keep that over a power cut is the appliance's business; `hazardous`: something
           is hot, open or moving though no cycle runs: features must not change now; `battery_percent`; `update_priority`:
           updates that a person agreed to, down from this priority (SUIT condition 27), 0 for none; `quiet`: nothing moves, fills
           or heats, or has to be watched (alarms), until something changes that. Who has it calls `on_change()`, which the
           agent sets, as soon as a switch, a level, a key or `remote_enable` has changed: from the event loop, no interrupt
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Board:
    """The ports, each reachable by its name."""

    def __init__(self, clock: "Any", net: "Any", flash: "Any", random: "Any", watchdog: "Any", appliance: "Any") -> None:
        self.clock = clock
        self.net = net
        self.flash = flash
        self.random = random
        self.watchdog = watchdog
        self.appliance = appliance


class Identity:
    """Who the device is. `tenant`, `device`: ids of EG-TOP-001; `vendor_id`, `class_id`: 16 bytes each, for manifests."""

    def __init__(
        self, tenant: str, device: str, model: str, firmware: str, vendor_id: bytes = b"", class_id: bytes = b""
    ) -> None:
        self.tenant = tenant
        self.device = device
        self.model = model
        self.firmware = firmware
        self.vendor_id = vendor_id
        self.class_id = class_id


class Config:
    """How the agent reaches its cloud and how much it keeps.

    `tls`: None, or what `evergrow_mqtt.tls.client_tls` made. `rx_bytes`: the largest packet that the device takes, said in
    birth; `block_bytes` must leave room in it. `mqtt`: further arguments of `evergrow_mqtt.config.Config`.
    `telemetry_signals`: at most 4 registry ids, sampled every `telemetry_s` seconds while a programme runs.
    `home`: the id of the home it belongs to, "" for none.
    `pull_bytes_per_s`: at most so much of a transfer is asked for, 0 for any. `quiet`: (from, to), minutes since local midnight,
    when features that ask for it are activated, None for always; local time is `utc_offset_min` ahead of UTC.
    `tick_ms`: how often the controller looks at the appliance; `rest_ms`: the same while it is at rest and `quiet`, 0 for no
    difference; a minute, say. Who starts or changes something is heard at once, and the watchdog is fed meanwhile.
    `usage_bytes`: the cap of the usage journal; `reserve_bytes`: flash that the journal leaves to everybody else.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: "Any" = None,
        username: "str | None" = None,
        password: "str | bytes | None" = None,
        keepalive_s: int = 60,
        rx_bytes: int = 1024,
        tx_bytes: int = 1024,
        block_bytes: int = 512,
        pull_bytes_per_s: int = 0,
        quiet: "tuple[int, int] | None" = None,
        utc_offset_min: int = 0,
        telemetry_signals: "tuple[int, ...]" = (),
        telemetry_s: int = 10,
        usage_bytes: int = 65536,
        reserve_bytes: int = 16384,
        tick_ms: int = 500,
        rest_ms: int = 0,
        home: str = "",
        mqtt: "dict[str, Any] | None" = None,
    ) -> None:
        if not 30 <= keepalive_s <= 480:
            raise ValueError(f"keepalive_s is {keepalive_s}, not within 30..480")  # EG-LIM-002
        if len(telemetry_signals) > 4:
            raise ValueError(f"{len(telemetry_signals)} telemetry signals, at most 4")
        if block_bytes + 128 > rx_bytes:
            raise ValueError(f"block_bytes {block_bytes} needs rx_bytes of {block_bytes + 128} at least, not {rx_bytes}")
        self.host = host
        self.port = port
        self.tls = tls
        self.username = username
        self.password = password
        self.keepalive_s = keepalive_s
        self.rx_bytes = rx_bytes
        self.tx_bytes = tx_bytes
        self.block_bytes = block_bytes
        self.pull_bytes_per_s = pull_bytes_per_s
        self.quiet = quiet
        self.utc_offset_min = utc_offset_min
        self.telemetry_signals = telemetry_signals
        self.telemetry_s = telemetry_s
        self.usage_bytes = usage_bytes
        self.reserve_bytes = reserve_bytes
        self.tick_ms = tick_ms
        self.rest_ms = rest_ms
        self.home = home
        self.mqtt = mqtt or {}
