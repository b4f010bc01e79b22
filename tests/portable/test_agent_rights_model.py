"""A device under random grants, lists, entitlements, cycles, clocks and power cuts, beside a model that is a page long.

Whatever happens: what the model says may start starts and nothing else; a use is counted for each cycle that began, and at most
one more for each power cut; what was taken back stays so; the appliance's own programme always runs.
"""

from hashlib import sha256

from evergrow_agent.features import Record
from evergrow_agent.runner import IDLE
from evergrow_protocol.errors import NOT_AUTHORISED, NOT_ENTITLED, OK, ProtocolError
from evergrow_sim.lfs import PowerCut
from faultyflash import MODES, FaultyFlash
from flashtruth import Rand
from ledgerkit import pending
from rightskit import WASH, Washer, wash
from tinyappliance import DRAIN, DRUM, INLET
from trustkit import DAY, NOW, PUBLISHER, accept, claims_of, grant_of, list_of, provisioned, token_of

HEAP = "2M"
PLAIN = 1
STEPS = 60
SEEDS = 12
WIDE, NARROW = [INLET, DRAIN, DRUM], [INLET, DRAIN]


class Model:
    """What the device knows, as it was told."""

    def __init__(self):
        self.grant = (1, True)  # sequence, wide enough
        self.listed = (0, False)  # sequence, names the feature
        self.held = (0, 0, 0)  # sequence, uses left or None, last second or None
        self.high_s = NOW  # the latest time seen
        self.behind = False  # the clock is set back by more than is tolerated

    def code(self):
        """Of the next start."""
        _, left, until_s = self.held
        if self.listed[1]:
            return NOT_AUTHORISED
        if left == 0 or (until_s is not None and (self.behind or self.high_s > until_s)):
            return NOT_ENTITLED
        return OK if self.grant[1] else NOT_AUTHORISED


class Run:
    def __init__(self, seed):
        self.rand = Rand(seed)
        self.model = Model()
        self.token = b""  # of the entitlement that is held
        flash = provisioned()
        device = self.device = Washer(flash)
        accept(device.grants, grant_of(sequence=1, k8=WIDE))
        body = wash()
        file = device.features.staging_file()
        flash.append(file, body)
        digest = sha256(body).digest()
        device.features.activate(Record(PUBLISHER, b"f0", 1001, 1, 2, file, len(body), digest, transfer=9))
        device.features.confirm(9)
        # Time is kept as long as anything depends on it: so there is always something.
        assert device.entitle(feature=1002, claims={4: NOW + 9999 * DAY}) == OK
        self.reboot()

    # -- what may happen

    def step(self):
        what = self.rand.below(10)
        if what < 3:
            self.cycle()
        elif what < 6:
            self.entitle()
        elif what == 6:
            self.grant()
        elif what == 7:
            self.revoke()
        elif what == 8:
            self.clock()
        else:
            self.reboot()
        self.look()

    def cycle(self):
        code = self.model.code()
        cut = self.cut()
        sequence, left, until_s = self.model.held
        before = self.counted()
        try:
            found = self.device.start()
            assert found == code, (found, code, vars(self.model))
            if found == OK:
                while self.device.runner.state != IDLE:
                    self.device.tick()
        except PowerCut:
            self.reboot()
        began = self.told()
        used = self.counted() - before
        assert used in ((0, 1) if code == OK and left is not None else (0,))
        assert began in ((0, 1) if cut or code != OK else (1,)) and (code == OK or not began)
        assert left is None or began <= used, "a cycle that was not counted"
        self.model.held = (sequence, left if left is None else left - used, until_s)

    def entitle(self):
        sequence = self.model.held[0]
        new = sequence + self.rand.below(4) - 1
        uses = (None, 0, 1, 2, 3)[self.rand.below(5)]
        end_s = None if self.rand.below(2) else self.model.high_s + (self.rand.below(5) - 1) * DAY + DAY // 2
        more = {} if uses is None else {"k4": uses}
        token = token_of(claims_of(new, claims={} if end_s is None else {4: end_s}, **more)) if new > 0 else b"\x80"
        if self.token and not self.rand.below(4):
            new, token = sequence, self.token  # a replay
        same = token == self.token
        self.cut()
        taken = False
        try:
            code = self.device.entitlements.take(token)[3]
            taken = code == OK and not same
            assert (code == OK) == (new > sequence or same), (code, new, sequence)
        except PowerCut:
            self.reboot()
            held = dict(self.device.entitlements.held()).get(WASH)
            taken = held is not None and held.what.sequence == new > sequence
        if taken:
            self.token = token
            self.model.held = (new, uses, end_s)

    def grant(self):
        sequence, wide = self.model.grant
        new, now_wide = sequence + self.rand.below(4) - 1, bool(self.rand.below(2))
        if new == sequence:
            return
        self.signed(lambda: accept(self.device.grants, grant_of(sequence=new, k8=WIDE if now_wide else NARROW)), new > sequence)
        found = dict(self.device.grants.sequences())[PUBLISHER]
        assert found in (sequence, new) and found >= sequence
        self.model.grant = (found, now_wide if found == new else wide)

    def revoke(self):
        sequence, named = self.model.listed
        new, naming = sequence + self.rand.below(4) - 1, bool(self.rand.below(2))
        if new < 1 or new == sequence:
            return
        rows = [[PUBLISHER, 1001, 0, 1]] if naming else []
        self.signed(lambda: accept(self.device.grants, list_of(new, features=rows)), new > sequence)
        found = self.device.grants.revocations.sequence
        assert found in (sequence, new) and found >= sequence
        self.model.listed = (found, naming if found == new else named)

    def clock(self):
        if self.rand.below(2):
            self.device.clock.utc = self.model.high_s + self.rand.below(3) * DAY
        else:
            self.device.clock.utc = self.model.high_s - (1 + self.rand.below(400)) * DAY
        self.device.tick()

    # -- how

    def signed(self, call, newer):
        self.cut()
        try:
            call()
            assert newer
        except ProtocolError as error:
            assert not newer, error.text
        except PowerCut:
            self.reboot()

    def cut(self):
        """Now and then, power fails within the next operations of the flash."""
        if self.rand.below(3):
            return False
        flash = self.device.flash
        flash.cut(flash.ops + 1 + self.rand.below(6), MODES[self.rand.below(3)])
        return True

    def reboot(self):
        self.device = Washer(FaultyFlash(self.device.flash.files), self.device.clock.utc)

    def counted(self):
        held = dict(self.device.entitlements.held()).get(WASH)
        return held.used if held else 0

    def told(self):
        """Records of the feature since the last look; the cloud has them then."""
        ledger = self.device.ledger
        found = pending(ledger)
        for boot, seq, _, _ in found:
            ledger.ack(boot, seq)
        return len([row for row in found if row[3].get(3, [])[:2] == list(WASH)])

    def look(self):
        """What must be so after each step."""
        device, model = self.device, self.model
        device.flash.cut(0, MODES[0])
        utc = device.clock.utc
        model.high_s = max(model.high_s, utc)
        model.behind = utc < model.high_s - 3600
        assert device.seen.now_s >= model.high_s - 3600  # what a power cut may cost (EG-ENT-008)
        assert not device.grants.damaged and not device.entitlements.damaged
        left = model.held[1]
        held = dict(device.entitlements.held()).get(WASH)
        assert (held.what.sequence if held else 0) == model.held[0]
        if held and left is not None:
            assert held.what.uses - held.used == left
        assert bool(device.rights.revoked()) == model.listed[1]
        assert device.run(PLAIN) == OK and 1 not in device.records()[-1]
        assert self.told() == 0


def test_a_device_and_a_model_agree_whatever_happens():
    """EG-TRUST-003, EG-TRUST-007, EG-TRUST-008, EG-TRUST-012, EG-TRUST-013, EG-ENT-003, EG-ENT-005, EG-ENT-006, EG-ENT-007,
    EG-ENT-009, EG-ENT-010"""
    for seed in range(SEEDS):
        run = Run(seed)
        for step in range(STEPS):
            try:
                run.step()
            except AssertionError:
                print("seed", seed, "step", step, vars(run.model))
                raise
