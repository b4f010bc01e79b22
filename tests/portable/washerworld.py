"""A washer's whole story on either interpreter: real agent, real physics, real signatures; time, broker and cloud in memory.

On MicroPython its flash is the real LittleFS2 on a chip in RAM, on CPython the modelled one. `main` prints every message that the
device sends, so that a host test can compare what two interpreters say.
"""

import asyncio
import gc
import json

from agentworld import NOW_S, UP, Clock, Cloud, Watchdog
from evergrow_agent import trust
from evergrow_agent.agent import Agent
from evergrow_agent.board import Board, Config, Identity
from evergrow_agent.fsflash import FsFlash
from evergrow_agent.runner import IDLE
from evergrow_protocol import registry_common as common
from evergrow_protocol import registry_washer as ids
from evergrow_protocol.cbor import dumps, loads
from evergrow_sim import lfs
from evergrow_sim.appliances.washer import Washer
from evergrow_sim.publisher import Signer, feature_manifest
from evergrow_sim.world.flash import PowerFlash
from mqttworld import SeededRandom, World

try:
    from asyncio import core  # MicroPython's, which tells who is about to run
except ImportError:
    core = None

QUICK = 3
WARM_RINSE = 1001  # the feature, and its programme
FEATURE = (7, WARM_RINSE, 1)  # publisher, feature, sequence

MOUNT_POINT = "/washer"
BLOCK_COUNT = 32

_VENDOR = b"vendor-id-16byte"
_CLASS = b"class-id--16byte"
_TRANSFER = 5
_STAGED = 2  # a feature's state that another report will follow
_MACHINE, _HEAP_FREE = 5, 10  # fields of birth
_GE, _LE = 0, 1


class SteppedClock(Clock):
    """Wakes one sleeper at a time, in an order that no interpreter's scheduler has a say in; `on_step(ms)` sees time pass."""

    def __init__(self, on_step):
        super().__init__()
        self._on_step = on_step

    async def settle(self):
        if core is None:
            await super().settle()
            return
        while core._task_queue.peek():  # Nobody sleeps in real time here, so that whoever is queued can go on now.
            await asyncio.sleep(0)

    async def run(self, work, limit_ms=100_000_000):
        task = asyncio.create_task(work)
        while True:
            await self.settle()
            if task.done():
                return await task
            sleeper = min(self._sleepers, key=_due_ms)
            assert sleeper[0] <= limit_ms, "nothing more happens"
            step_ms = sleeper[0] - self.now_ms
            if step_ms > 0:
                self._on_step(step_ms)
                self.now_ms = sleeper[0]
            sleeper[1].set()


def _programme(body):
    """Of a usage record (EG-USE-010)."""
    return body.get(0) or body[common.USAGE_FEATURES][1]


class WasherCloud(Cloud):
    """Offers one feature until it is installed. `messages`: (ms since the world began, kind, payload) of all that came up."""

    def __init__(self, signer):
        super().__init__()
        self.welcomes = False  # those of Cloud know no time
        self.messages = []
        self.now_ms = 0
        self.offering = False
        self.installed = None
        self.answers = {}  # {command id: code}
        body = _feature()
        manifest = feature_manifest(body, (b"acme", b"warm-rinse"), _VENDOR, _CLASS)
        self._payloads = (signer.envelope(manifest), body)

    def offer(self):
        self.offering = True
        self.down("offer", [_TRANSFER, len(self._payloads[0])])

    def finished(self, programme):
        """How often it was told that this programme ran to its end."""
        return len([1 for body in self.usage.values() if _programme(body) == programme and not body.get(1)])

    def _on_publish(self, link, first, body):
        seen = len(self.published)
        super()._on_publish(link, first, body)
        for topic, payload, _, _, _, _ in self.published[seen:]:
            kind = topic[len(UP) :]
            message = loads(bytes(payload))
            self.messages.append((self.now_ms, kind, bytes(payload)))
            if kind == "birth":
                self.down("welcome", [message[0], message[1], NOW_S + self.now_ms // 1000])
                if self.offering:
                    self.offer()
            elif kind == "rsp":
                self.answers[message[3][0]] = message[3][1]
            elif kind == "get":
                self._serve(message[3])
            elif kind == "feat" and message[3][2] != _STAGED:
                self.offering = False
                self.installed = message[3]

    def _serve(self, get):
        transfer, payload, block_bytes, first, wanted = get[:5]
        for bit in range(8 * len(wanted)):
            if wanted[bit >> 3] >> (bit & 7) & 1:
                at = (first + bit) * block_bytes
                self.down("block", [transfer, payload, first + bit, self._payloads[payload][at : at + block_bytes]])


class WasherHome:
    """A washer and its cloud, for as many boots as it takes. `started`: cycles; `interrupted`: starts that lost power.

    `signer`: a publisher, which takes 32,000 hashes to make. `chip` counts the operations of this boot and can be cut.
    """

    def __init__(self, signer=None):
        gc.collect()
        signer = signer or Signer("acme", b"acme")
        self.cloud = WasherCloud(signer)
        self.washer = Washer(SeededRandom(7))
        self.started = 0
        self.interrupted = 0
        self.agent = None
        self.chip = None
        self.flash = None
        self._blocks = lfs.RamBlocks(BLOCK_COUNT) if lfs.AVAILABLE else PowerFlash(block_count=BLOCK_COUNT)
        self._boots = 0
        self._commands = 0
        self.power_on()
        trust.provision(self.flash, [signer.key])

    def power_on(self):
        """Flash and physics are what they were; RAM is new."""
        if lfs.AVAILABLE:
            self.chip = lfs.Chip(self._blocks)
            lfs.mount(self.chip, MOUNT_POINT)
            self.flash = FsFlash(MOUNT_POINT)
        else:
            self.flash = self._blocks

    def power_off(self):
        self.washer.power_off()
        if lfs.AVAILABLE:
            lfs.unmount(MOUNT_POINT)

    def live(self):
        """One boot, until the story has come to its end. lfs.PowerCut on MicroPython, if the chip has a cut."""
        if core:
            asyncio.new_event_loop()  # Tasks of the boot before die with its loop.
        asyncio.run(self._boot())

    async def _boot(self):
        self._boots += 1
        self.clock = SteppedClock(self._pass)
        world = World(self.cloud)
        world.clock = self.clock
        board = Board(self.clock, world, self.flash, SeededRandom(self._boots), Watchdog(), self.washer)
        identity = Identity("acme", "d1", "evergrow-w1", "0.1.0", _VENDOR, _CLASS)
        signals = (ids.SIGNAL_WATER_ML, ids.SIGNAL_TEMP, ids.SIGNAL_DRUM_RPM, ids.SIGNAL_POWER_W)
        self.agent = Agent(board, identity, Config("broker", 1883, telemetry_signals=signals, telemetry_s=10))
        self._watch(self.agent.cycle)
        await self.clock.run(self._with_agent())

    async def _with_agent(self):
        running = asyncio.create_task(self.agent.run())
        await self._story()
        await self.agent.stop()
        await running

    async def _story(self):
        await self.clock.sleep_ms(1000)  # The agent has booted.
        await self._until(lambda: self.agent.link.online)
        await self._wash(QUICK)
        if not self.cloud.installed:
            self.cloud.offer()
        await self._until(lambda: self.cloud.installed)
        await self._wash(WARM_RINSE)
        await self._until(lambda: not self.agent.link.busy)

    async def _wash(self, programme):
        """Ask from afar, until it has run to its end and the cloud knows."""
        cloud = self.cloud
        await self._until(self._is_over)
        while not cloud.finished(programme):
            self.washer.remote_enable = True
            self._commands += 1
            cloud.down("cmd", [self._commands, 1, {0: programme}])
            await self._until(lambda: self._commands in cloud.answers)
            await self._until(self._is_over)

    def _is_over(self):
        """No cycle runs, and the cloud has the record of each."""
        return self.agent.runner.state == IDLE and not self.agent.ledger.pending

    async def _until(self, condition):
        end_ms = self.clock.now_ms + 7_200_000
        while not condition():
            assert self.clock.now_ms < end_ms, "it does not happen"
            await self.clock.sleep_ms(1000)

    def _pass(self, step_ms):
        self.washer.step(step_ms)
        self.cloud.now_ms += step_ms

    def _watch(self, cycle):
        start = cycle.start

        def watched(*args):
            try:
                start(*args)
            except lfs.PowerCut:
                self.interrupted += 1
                raise
            self.started += 1

        cycle.start = watched


def comparable(kind, payload):
    """The message, without what tells of the interpreter: in birth, its name and machine, and how much heap is free."""
    message = loads(payload)
    if kind == "birth":
        del message[3][_MACHINE]
        del message[3][_HEAP_FREE]
    return dumps(message)


def main():
    """Print, as one line of JSON, [ms, kind, payload in hex] of every message."""
    home = WasherHome()
    home.live()
    assert sum(home.agent.crashes.values()) == 0, home.agent.last_crash
    print("\x1e" + json.dumps([[ms, kind, comparable(kind, payload).hex()] for ms, kind, payload in home.cloud.messages]))


def _due_ms(sleeper):
    return sleeper[0]


def _feature():
    fill = {
        0: common.PHASE_FILL,
        2: [[ids.ACTUATOR_INLET, ids.SIGNAL_WATER_ML, 3300, 300]],
        3: [[ids.SIGNAL_WATER_ML, _GE, 3300]],
        5: 120,
        6: common.ERROR_FILL_TIMEOUT,
    }
    drain = {0: common.PHASE_DRAIN, 1: {ids.ACTUATOR_DRAIN: 1}, 3: [[ids.SIGNAL_WATER_ML, _LE, 200]], 4: 5, 5: 120}
    lock = {0: common.PHASE_LOCK, 3: [[ids.SIGNAL_DOOR_LOCKED, _GE, 1]], 5: 10, 6: common.ERROR_DOOR_OPEN}
    spin = {0: common.PHASE_SPIN, 1: {ids.ACTUATOR_DRAIN: 1, ids.ACTUATOR_DRUM_RPM: 800}, 4: 20, 5: 50}
    steps = [lock] + [fill, drain] * 2 + [spin]
    return dumps({0: 2, 1: WARM_RINSE, 2: "warm-rinse", 3: "1.0.0", 5: [WARM_RINSE, steps, {0: 240}]})
