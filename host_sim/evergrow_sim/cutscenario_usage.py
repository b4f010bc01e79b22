"""Usage records on flash, for `cutpoints`: whatever power does, each cycle is counted once, and the chain is whole. Portable."""

from evergrow_agent import devicekey
from evergrow_agent.bootcount import bump
from evergrow_agent.journal import RECORD_MAX, Journal
from evergrow_agent.ledger import Ledger
from evergrow_protocol import hmac
from evergrow_protocol import registry_common as common
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.registry_common import USAGE_MERGED
from evergrow_sim.cutscenario_ports import Random

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_T = 1_795_339_200
_PUBLISHER = 7
_FEATURE = 1001
_KEY = bytes(range(32))


class _Cloud:
    """Takes records, counts each id once, and acks. `records`: {id: (t, body, tag)}. `twice`: ids that came with two contents."""

    def __init__(self) -> None:
        self.records: "dict[tuple[int, int], Any]" = {}
        self.twice: "list[tuple[int, int]]" = []

    def deliver(self, ledger: Ledger) -> None:
        """Everything that is pending, and acks for it, until nothing moves."""
        buf = memoryview(bytearray(RECORD_MAX))
        moved = True
        while moved:
            boots: "list[int]" = []
            size = ledger.next_into(buf)
            while size:
                boot, seq, t, body, tag = loads(buf[:size])
                if self.records.setdefault((boot, seq), (t, body, tag)) != (t, body, tag):
                    self.twice.append((boot, seq))
                if boot not in boots:
                    boots.append(boot)
                size = ledger.next_into(buf)
            moved = sum([ledger.ack(boot, max([s for b, s in self.records if b == boot])) for boot in boots]) > 0

    def total(self, key: int, default: int = 0) -> int:
        return sum([body.get(key, default) for _, body, _ in self.records.values()])

    def of_feature(self, feature: int) -> int:
        """The energy of the cycles that used a feature, in records of one cycle and of many."""
        total = 0
        for _, body, _ in self.records.values():
            if feature in body.get(common.USAGE_FEATURES, ()):
                total += body[common.USAGE_ENERGY_WH]
            rows = body.get(common.USAGE_BY_FEATURE, ())
            for i in range(0, len(rows), 3):
                if rows[i + 1] == feature:
                    total += rows[i + 2][common.USAGE_ENERGY_WH]
        return total

    def chain_break(self) -> "tuple[int, int] | None":
        """The first record that is not chained to the one before it (EG-CHAIN-001)."""
        key, before = hmac.digest(_KEY, b"eg1 usage"), bytes(8)
        for boot, seq in sorted(self.records):
            t, body, tag = self.records[(boot, seq)]
            if tag != hmac.digest(key, before, dumps([boot, seq, t, body]))[:8]:
                return boot, seq
            before = tag
        return None


class Usage:
    """Usage records: append, announce, ack, rotate and free segments, merge when full (EG-USE-002, EG-USE-006, EG-ACK-003).

    Each used another amount, and every third a feature: sums tell which were counted. All of them are one chain (EG-CHAIN-002).
    """

    segment_bytes = 140
    cap_bytes = 280
    bursts: "tuple[int, ...]" = (5, 5, 9)  # cycles before each delivery
    prepared = 2  # cycles

    def __init__(self) -> None:
        self._cloud = _Cloud()
        self._durable = self.prepared  # cycles that must not be lost any more

    def prepare(self, flash: "Any") -> None:
        devicekey.provision(flash, _KEY)
        self._durable = 0
        self._cycles(self._open(flash), 3, self.prepared)

    def live(self, flash: "Any") -> None:
        ledger = self._open(flash)
        for count in self.bursts:
            self._cycles(ledger, 4, count)
            self._cloud.deliver(ledger)
        ledger.settle()
        self._cloud.deliver(ledger)

    def recover(self, flash: "Any") -> None:
        self._open(flash)

    def state(self, flash: "Any") -> "Any":
        ledger = self._open(flash)
        return ledger.last, ledger.pending, ledger.merged_cycles

    def check(self, flash: "Any") -> "str | None":
        ledger = self._open(flash)
        self._cloud.deliver(ledger)
        ledger.settle()
        self._cloud.deliver(ledger)
        if ledger.pending or ledger.merged_cycles:
            return f"{ledger.pending} records and {ledger.merged_cycles} merged cycles do not leave the flash"
        if self._cloud.twice:
            return f"two records of one id: {self._cloud.twice}"
        cycles = self._cloud.total(USAGE_MERGED, 1)
        energy = self._cloud.total(common.USAGE_ENERGY_WH)
        least = self._durable  # the record under way when power failed may be there or not
        if not least <= cycles <= least + 1 or energy != _energy(cycles):
            return f"{cycles} cycles and {energy} Wh at the cloud, of {least} that were durable, {_energy(least)} Wh"
        for feature in (_FEATURE, _FEATURE + 1):
            found, wanted = self._cloud.of_feature(feature), _energy(cycles, feature)
            if found != wanted:
                return f"{found} Wh of feature {feature} at the cloud, of {wanted} Wh"
        broken = self._cloud.chain_break()
        return f"record {broken} is not chained to the one before it" if broken else None

    def _cycles(self, ledger: Ledger, boot: int, count: int) -> None:
        for _ in range(count):
            number = self._durable
            body: "dict[int, Any]" = {0: 1, 2: 60, 4: 1 << number % 16, 5: 10, 6: 600, 7: 1000}
            if number % 3:
                body[common.USAGE_FEATURES] = [_PUBLISHER, _FEATURE + number % 3 - 1]
            ledger.append(boot, ledger.begin(boot), _T, body, number)
            self._durable += 1

    def _open(self, flash: "Any") -> Ledger:
        ledger = Ledger(flash, Journal(flash, self.segment_bytes, self.cap_bytes, 0))
        ledger.load()
        self._connect(ledger)
        return ledger

    def _connect(self, ledger: Ledger) -> None:
        ledger.adopt(0)


class UsageBlocks(Usage):
    """The same in segments that are too large for LittleFS2's log and stand in blocks of their own, as on a device."""

    segment_bytes = 700
    cap_bytes = 2000
    bursts = (14, 4)


class Erased(Usage):
    """The flash was erased: what is recorded since then rises above the boot numbers that the cloud knows (EG-ENV-006).

    The cloud has records of boots 1 to 7 from before. Those since the erase are of boots 1 to 3, in several segments; during the
    last boot the cloud is reached, and a cycle ends before and after. Sums of cycles that had no room are among them.
    """

    cap_bytes = 420
    prepared = 6
    known = 7  # the largest boot number that the cloud knows

    def __init__(self) -> None:
        super().__init__()
        self._before = {(boot, seq): (_T, {4: 0, 9: 0}, b"") for boot in range(1, self.known + 1) for seq in (1, 2, 3)}
        self._cloud.records.update(self._before)

    def prepare(self, flash: "Any") -> None:
        devicekey.provision(flash, _KEY)
        self._durable = 0
        for _ in range(2):
            self._life(flash, 3)

    def live(self, flash: "Any") -> None:
        self._life(flash, 3, True, 1)

    def recover(self, flash: "Any") -> None:
        self._life(flash)

    def state(self, flash: "Any") -> "Any":
        ledger = self._open(flash)
        return ledger.fresh, ledger.pending, ledger.merged_cycles

    def check(self, flash: "Any") -> "str | None":
        self._life(flash, 0, True)
        for key in self._before:
            del self._cloud.records[key]
        return super().check(flash)

    def _connect(self, ledger: Ledger) -> None:
        pass  # `_life` does

    def _life(self, flash: "Any", cycles: int = 0, online: bool = False, more: int = 0) -> None:
        """One boot, as the agent has it: `cycles`, then perhaps the welcome, and `more`."""
        ledger = self._open(flash)
        boot, _ = bump(flash, Random(), ledger.newest_boot)
        ledger.settle()
        self._cycles(ledger, boot, cycles)
        if not online:
            return
        if ledger.fresh:
            number, _ = bump(flash, Random(), max(self.known, boot) + boot - 1)
            ledger.adopt(number - boot)
            boot = ledger.number(boot)
        self._cloud.deliver(ledger)
        self._cycles(ledger, boot, more)
        self._cloud.deliver(ledger)


def _energy(cycles: int, feature: int = 0) -> int:
    """Of the first cycles of `Usage`, all or those that used a feature."""
    wanted = range(3) if not feature else (1 + feature - _FEATURE,)
    return sum([1 << number % 16 for number in range(cycles) if number % 3 in wanted])
