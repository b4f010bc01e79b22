"""Carries faults out: `Breaker` starts each at its time and heals it when it is over, or all of them at the end."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from evergrow_cloud.limits import Limits
from evergrow_protocol import registry_washer as ids
from evergrow_sim.lfs import BLOCK_BYTES, CUT_BEFORE
from evergrow_sim.world import stored
from evergrow_sim.world.broker_settings import Switches
from evergrow_sim.world.faults import CLOUD, DID_COMMAND, Fault
from evergrow_sim.world.flashwear import INLINE_MAX
from evergrow_sim.world.house import House, Resident
from evergrow_sim.world.net import Link

_BALLAST = "ballast"
_BOOT = "boot."
_COMMANDS = "commands"
_CLOUD_DELAY_MS = 20
_METERS = (ids.SIGNAL_ENERGY_WH, ids.SIGNAL_WATER_IN_ML)
_SAFE_LEFT_BYTES = 8192
"""With this much room beside the journal's reserve, small files can still be replaced, so that nothing may be lost."""


class Breaker:
    """Breaks what is in `house`, as the faults say. `refusals`: how often the broker refused clients for long."""

    def __init__(self, house: House, faults: list[Fault]) -> None:
        self.refusals = 0
        self._house = house
        self._world = house.world
        self._faults = faults
        self._open: dict[int, Callable[[], None]] = {}  # {number of the fault: what heals it}
        self._active: list[Fault] = []  # of those whose effects add up: see `_settle`
        self._over = False
        self._armed: list[tuple[Fault, int, Callable[[], object]]] = []  # wait for a message, and so many events more
        house.tap.on_message = self._on_message
        for resident in house.residents.values():
            resident.orders.on_handled = partial(self._on_message, resident.name, DID_COMMAND)

    def start(self) -> None:
        for number, fault in enumerate(self._faults):
            self._world.loop.call_at_us(1000 * fault.at_ms, self._begin, number, fault)

    def stop(self) -> None:
        """All faults are over; what is off is turned on again."""
        self._over = True
        for number in list(self._open):
            self._heal(number)
        house = self._house
        if not house.broker.running:
            house.broker.start()
        house.cloud.start()
        for resident in house.residents.values():
            resident.device.flash.cut(0, CUT_BEFORE)
            if not resident.device.on:
                resident.device.power_on()

    # -- one fault

    def _begin(self, number: int, fault: Fault) -> None:
        if self._over:
            return
        self._world.note(fault.target, "fault", str(fault))
        if fault.kind == "appliance" and fault.text("after"):
            self._armed.append((fault, 0, lambda: self._strike(number, fault)))
        else:
            self._strike(number, fault)

    def _strike(self, number: int, fault: Fault) -> None:
        heal = self._break(fault)
        if heal is not None:
            self._open[number] = heal
            self._world.loop.call_at_us(self._world.loop.now_us + 1000 * fault.for_ms, self._heal, number)

    def _heal(self, number: int) -> None:
        heal = self._open.pop(number, None)
        if heal is not None:
            self._world.note(self._faults[number].target, "healed", self._faults[number].kind)
            heal()

    def _break(self, fault: Fault) -> Callable[[], None] | None:
        """Start it; returns what ends it."""
        if fault.kind.startswith("link"):
            return self._break_link(fault)
        if fault.kind.startswith("broker"):
            return self._break_broker(fault)
        if fault.kind == "cloud busy":
            self._house.cloud.squeeze(Limits(message_burst=fault["burst"], messages_per_s=fault["per_min"] / 60))
            return lambda: self._house.cloud.squeeze(Limits())
        if fault.target == CLOUD:
            self._soon(fault, lambda: self._crash_cloud(fault))
            return None
        resident = self._house.residents[fault.target]
        broken: dict[str, Callable[[Resident, Fault], Callable[[], None] | None]] = {
            "power": self._cut_power,
            "flash cut": self._cut_flash,
            "stall": self._stall,
            "clock": self._jump,
            "appliance": self._break_appliance,
            "flash full": self._fill_flash,
            "flash rot": self._rot,
            "flash back": self._roll_back,
            "flash erased": self._erase,
            "flash fails": self._fail_flash,
            "flash unreadable": self._hide_flash,
            "echo": self._echo,
            "hold": self._hold,
            "lose": self._lose,
        }
        return broken[fault.kind](resident, fault)

    def _soon(self, fault: Fault, call: Callable[[], object]) -> None:
        """So many events from now on, or from the next message of the kind that it names: between any two steps of anybody."""
        if fault.text("after"):
            self._armed.append((fault, fault["event"], call))
        else:
            self._ring_after(fault["event"], call)

    def _ring_after(self, events: int, call: Callable[[], object]) -> None:
        loop = self._world.loop

        def ring() -> None:
            if not self._over:
                call()

        loop.at_event(loop.events + events, ring)

    def _on_message(self, device: str, kind: str) -> None:
        for armed in [one for one in self._armed if one[0].text("after") == kind and one[0].target in (device, CLOUD)]:
            self._armed.remove(armed)
            self._ring_after(armed[1], armed[2])

    # -- links and broker: several faults may hold at once, and end in any order

    def _add(self, fault: Fault, settle: Callable[[str], None]) -> Callable[[], None]:
        """It holds from now on; `settle(target)` makes what is there agree with all that hold."""
        self._active.append(fault)
        settle(fault.target)

        def heal() -> None:
            self._active.remove(fault)
            settle(fault.target)

        return heal

    def _break_link(self, fault: Fault) -> Callable[[], None] | None:
        network = self._world.network
        if fault.kind == "link reset":
            self._soon(fault, lambda: network.reset(fault.target))
            return None
        if fault.kind in ("link refuse", "link dns"):
            network.reset(fault.target)
        return self._add(fault, self._settle_link)

    def _settle_link(self, target: str) -> None:
        link = self._world.network.link(target)
        link.heal()
        spec = self._house.residents[target].spec if target != CLOUD else None
        link.delay_ms, link.jitter_ms = (spec.delay_ms, spec.jitter_ms) if spec else (_CLOUD_DELAY_MS, 0)
        for fault in self._active:
            if fault.target == target:
                _spoil(link, fault)

    def _break_broker(self, fault: Fault) -> Callable[[], None] | None:
        broker = self._house.broker
        if fault.kind == "broker restart":
            broker.stop()
            return lambda: None if broker.running else broker.start(bool(fault["memory"]))  # another such fault may have ended
        heal = self._add(fault, self._settle_broker)
        if fault.kind != "broker slow":
            self.refusals += fault.kind == "broker refuses"
            broker.restart()  # what a broker has to offer is said when a client connects
        return heal

    def _settle_broker(self, target: str) -> None:
        switches = Switches()
        for fault in self._active:
            if fault.target == target:
                switches = replace(switches, **_poorer(fault))
        self._house.broker.switches = switches
        # For good: what was published without is sent again without, also when the broker has learnt better.
        self._house.tap.no_retained |= switches.no_retained and switches.announce

    def _crash_cloud(self, fault: Fault) -> None:
        cloud = self._house.cloud
        cloud.crash(bool(fault["machine"]))
        self._world.loop.call_at_us(self._world.loop.now_us + 1000 * fault.for_ms, cloud.start)

    # -- power

    def _cut_power(self, resident: Resident, fault: Fault) -> None:
        self._soon(fault, lambda: resident.device.reboot(fault.for_ms))

    def _cut_flash(self, resident: Resident, fault: Fault) -> None:
        flash = resident.device.flash
        flash.cut(flash.ops + fault["operation"], fault["how"])
        flash.on_cut = lambda: resident.device.reboot(fault.for_ms)

    def _stall(self, resident: Resident, fault: Fault) -> None:
        """Its program hangs: nobody who sleeps wakes up, until the watchdog bites."""
        boot, loop = resident.device.boot, self._world.loop
        if boot is None or resident.washer.stalled:
            return

        async def sleep_ms(_: int) -> None:
            await loop.create_future()

        setattr(boot.clock, "sleep_ms", sleep_ms)  # noqa: B010
        resident.stalls += 1
        resident.washer.stalled = True
        over_us = loop.now_us + 1000 * (resident.device.watchdog_ms + 3 * resident.spec.tick_ms)
        loop.call_at_us(over_us, lambda: setattr(resident.washer, "stalled", False))

    # -- clock

    def _jump(self, resident: Resident, fault: Fault) -> None:
        device = resident.device
        device.drift_ppm = fault["drift_ppm"]
        device.rtc_off_s = fault["jump_s"]
        if device.boot is not None:
            device.boot.clock.drift_ppm = fault["drift_ppm"]
            device.boot.clock.jump_s(fault["jump_s"])

    # -- appliance

    def _break_appliance(self, resident: Resident, fault: Fault) -> Callable[[], None] | None:
        washer = resident.device.appliance
        how = fault.text("how")
        if how == "dead actuator":
            actuator = sorted(washer.limits)[fault["signal"] % len(washer.limits)]
            if actuator not in washer.dead_actuators:
                washer.write(actuator, washer.safe_state[actuator])  # its relay drops
            washer.dead_actuators.add(actuator)
            return lambda: washer.dead_actuators.discard(actuator)
        if how != "dead sensor":
            name = how.replace(" ", "_")

            def put(on: bool) -> None:
                setattr(resident.device.appliance, name, on)
                washer.on_change()

            put(True)
            return lambda: put(False)
        signal = fault["signal"]
        began_ms = self._world.loop.now_ms
        washer.dead_signals.add(signal)

        def heal() -> None:
            washer.dead_signals.discard(signal)
            if signal in _METERS:
                for cycle in resident.log.cycles:
                    if not cycle.ended_ms or cycle.ended_ms >= began_ms:
                        cycle.meter_failed = True

        return heal

    # -- flash

    def _fill_flash(self, resident: Resident, fault: Fault) -> Callable[[], None]:
        flash = resident.device.flash
        began_ms = self._world.loop.now_ms
        resident.may_forget = resident.may_forget or fault["left_bytes"] < _SAFE_LEFT_BYTES
        flash.files.pop(_BALLAST, None)
        room = flash.capacity() - flash.used() - fault["left_bytes"]
        # Not by the port: somebody else's data, written long ago.
        flash.files[_BALLAST] = bytes(max(0, room // BLOCK_BYTES) * (BLOCK_BYTES - 16))

        def heal() -> None:
            flash.files.pop(_BALLAST, None)
            if fault["left_bytes"] < _SAFE_LEFT_BYTES:
                resident.log.excuse("the flash was full", began_ms)

        return heal

    def _rot(self, resident: Resident, fault: Fault) -> None:
        """A bit flips in the data of a file; what stands in the log of the file system has a check, and is safe."""
        flash = resident.device.flash
        names = [name for name in sorted(flash.files) if len(flash.files[name]) > INLINE_MAX and name != _BALLAST]
        if not names:
            return
        name = names[fault["bit"] % len(names)]
        flash.rot(name, fault["bit"] % (8 * len(flash.files[name])))
        resident.may_rot = True
        resident.may_forget = resident.may_forget or name == _COMMANDS
        self._world.note(resident.name, "rot", name)
        if name.startswith("use."):
            resident.rotten += 1
            told = self._house.told(resident)
            last = max(told, default=(0, 0))
            for cycle in resident.log.ended():
                if cycle.boot >= last[0]:  # of those that the cloud has, none can be lost any more
                    cycle.losable = cycle.losable or "a bit of its record flipped"

    def _roll_back(self, resident: Resident, fault: Fault) -> None:
        """Power fails, and then the newest entries of the file system's log cannot be read: it falls back to those before.

        Not behind the number of this boot: nobody on the device could tell that it had been used. Nor behind what says that the
        flash is not new, and that its records may have been told.
        """
        flash = resident.device.flash
        stamps = flash.undoable(_BOOT, stored.MARK)[: fault["operations"]]
        if not resident.device.on or not stamps:
            return
        resident.device.reboot(fault.for_ms)
        flash.roll_back(len(stamps))
        resident.may_forget = resident.undone = True
        resident.lives.asked.clear()
        resident.log.excuse("its flash fell back", stamps[-1])
        self._world.note(resident.name, "fell back", len(stamps), stamps[-1])

    def _erase(self, resident: Resident, fault: Fault) -> None:
        """Power fails, and the flash is empty but for what it is provisioned with anew."""
        device, flash = resident.device, resident.device.flash
        if not device.on:
            return
        device.reboot(fault.for_ms)
        told = self._house.told(resident)
        untold = [key[0] for key in stored.usage(flash.files) if key not in told]
        resident.log.erase(stored.base(flash.files), untold)
        resident.said.lost(self._house.heard(resident))
        resident.lives.asked.clear()  # who agreed is asked again
        flash.erase((_BALLAST,))
        failing = flash.fail, flash.fail_reads
        flash.fail, flash.fail_reads = None, ()  # elsewhere, by somebody else
        flash.power_on()
        resident.provision()
        flash.power_off()
        flash.fail = failing[0]
        flash.fail_reads = failing[1] if "" in failing[1] else ()  # files that are not there can be looked for
        resident.erasures += 1
        resident.may_forget = True

    def _fail_flash(self, resident: Resident, fault: Fault) -> Callable[[], None]:
        flash = resident.device.flash
        began_ms = self._world.loop.now_ms
        rand = self._world.rand("flash fails", resident.name, fault.at_ms)
        chance = fault["percent"] / 100

        def fails(_: int) -> bool:
            return rand.chance(chance)

        flash.fail, flash.fail_how = fails, fault["how"]
        resident.may_forget = True

        def heal() -> None:
            if flash.fail is fails:  # else another such fault has taken over
                flash.fail = None
            resident.log.excuse("the flash failed", began_ms)

        return heal

    def _hide_flash(self, resident: Resident, fault: Fault) -> Callable[[], None]:
        flash = resident.device.flash
        began_ms = self._world.loop.now_ms
        prefix = fault.text("name")
        hidden = [name for name in flash.files if name.startswith(prefix)] if prefix else [""]
        flash.fail_reads = hidden
        resident.may_forget = resident.blind = True

        def heal() -> None:
            if flash.fail_reads is hidden:
                flash.fail_reads = ()
            resident.log.excuse("the flash could not be read", began_ms)

        return heal

    # -- messages

    def _echo(self, resident: Resident, fault: Fault) -> Callable[[], None]:
        echo_ms = self._house.broker.echo_ms
        echo_ms[resident.name] = fault["late_ms"]
        return lambda: _drop(echo_ms, resident.name)

    def _hold(self, resident: Resident, fault: Fault) -> Callable[[], None]:
        hold_ms = self._house.broker.hold_ms
        hold_ms[resident.name] = fault["late_ms"]
        return lambda: _drop(hold_ms, resident.name)

    def _lose(self, resident: Resident, fault: Fault) -> Callable[[], None]:
        lose = self._house.broker.lose_percent
        lose[resident.name] = fault["percent"]
        return lambda: _drop(lose, resident.name)


def _drop(table: dict[str, int], name: str) -> None:
    table.pop(name, None)


def _spoil(link: Link, fault: Fault) -> None:
    match fault.kind:
        case "link down":
            link.stalled = True
        case "link half open":
            link.half_open = True
        case "link refuse":
            link.refuse = True
        case "link dns":
            link.dns_fail = True
        case "link split":
            link.split = True
        case "link slow":
            link.bytes_per_s = fault["bytes_per_s"]
            link.delay_ms += fault["delay_ms"]
        case "link lossy":
            link.loss = fault["percent"] / 100
        case "link jumpy":
            link.delay_ms += fault["delay_ms"]
            link.jitter_ms, link.reset = fault["jitter_ms"], fault["percent"] / 1000


def _poorer(fault: Fault) -> dict[str, Any]:
    """What a fault changes in the broker's switches."""
    match fault.kind:
        case "broker slow":
            return {"puback_delay_ms": fault["puback_ms"]}
        case "broker refuses":
            return {"refuse_connect": fault["code"]}
    how = fault.text("how")
    if how == "silent":
        return {"no_sessions": True, "no_retained": True, "announce": False}
    return {how.replace(" ", "_"): True}
