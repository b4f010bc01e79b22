"""Rights that change while a whole device lives: what it was told over its link counts at the next safe point."""

from hashlib import sha256

from agentworld import Cloud, Device
from evergrow_agent import devicekey
from evergrow_agent.features import Features, Record
from evergrow_agent.grants import Grants
from evergrow_agent.seentime import SeenTime
from evergrow_protocol.cbor import dumps
from evergrow_protocol.grant import REVOCATIONS
from evergrow_protocol.messages import FLAG_RIGHTS
from faultyflash import FaultyFlash
from rightskit import wash
from sensekit import METER, RIGHTS, sense
from stillclock import Clock
from tinyappliance import TinyAppliance
from trustkit import DAY, KEY, NOW, PUBLISHER, accept, claims_of, grant_of, list_of, provisioned, root, token_of

HEAP = "2M"
SENSE = (PUBLISHER, 1001)
BLOCK = 512


def sold(*bodies):
    """The flash of a device that was sold with these features, a root key and a device key."""
    flash = provisioned()
    devicekey.provision(flash, KEY)
    accept(Grants(flash), grant_of(**RIGHTS))
    features = Features(flash)
    for number, body in enumerate(bodies):
        file = features.staging_file()
        flash.append(file, body)
        kind, feature = body[2], int.from_bytes(body[5:7], "big")
        features.activate(
            Record(PUBLISHER, b"f%d" % number, feature, 1, kind, file, len(body), sha256(body).digest(), transfer=9)
        )
    if bodies:
        features.confirm(9)
    return flash


class TrustCloud(Cloud):
    """Hands out what it offered."""

    def __init__(self):
        super().__init__()
        self.offered = {}

    def offer(self, transfer, content, data):
        self.offered[transfer] = data
        self.down("offer", [transfer, len(data), content])

    def take(self, envelope):
        super().take(envelope[:4])  # without the tag of the chain

    def _on_publish(self, link, first, body):
        seen = len(self.up)
        super()._on_publish(link, first, body)
        for kind, message, _, _ in self.up[seen:]:
            if kind == "get":
                transfer, _, size, at, wanted = message[3][:5]
                for i in range(8 * len(wanted)):
                    if wanted[i >> 3] >> (i & 7) & 1:
                        piece = self.offered[transfer][(at + i) * size : (at + i + 1) * size]
                        self.down("block", [transfer, 0, at + i, piece])


def runs(device):
    runtime = device.agent.code.runtime
    return [running.owner for running in runtime.features] if runtime else []


async def test_code_runs_as_soon_as_it_is_entitled_and_no_longer_than_that():
    """EG-ENT-002, EG-ENT-005, EG-CODE-004"""
    cloud = TrustCloud()

    async def story(device):
        await device.until(lambda: cloud.of("birth"))
        assert runs(device) == []
        cloud.down("ent", [token_of(claims_of())])
        await device.until(lambda: cloud.of("ent"))
        await device.until(lambda: runs(device) == [SENSE], 5)
        await device.run_cycle()
        cloud.down("ent", [token_of(claims_of(2, k4=0))])
        await device.until(lambda: runs(device) == [], 5)
        for _ in range(2):
            await device.run_cycle()
        await device.until(lambda: len(cloud.usage) == 3)
        assert [message[3] for message in cloud.of("ent")] == [[PUBLISHER, 1001, 1, 0], [PUBLISHER, 1001, 2, 0]]

    await Device(cloud, sold(sense(entitlement=1))).live(story)
    told = [cloud.usage[key] for key in sorted(cloud.usage)]
    assert told[0][3] == told[1][3] == list(SENSE) and told[1][METER] == 3  # it counts ends of cycles, which the next one tells
    assert 3 not in told[2] and 1 not in told[2]


async def test_a_use_is_counted_before_the_tick_in_which_it_is_made_is_over():
    """EG-ENT-009"""
    cloud = TrustCloud()
    seen = []

    async def story(device):
        def feed():  # the end of each tick
            agent = device.agent
            if agent.cycle.active and [1 for running in agent.code.runtime.features if running.api._used]:
                seen.append(agent.rights._entitlements.held()[0][1].used)

        await device.until(lambda: cloud.of("birth"))
        cloud.down("ent", [token_of(claims_of(k4=9))])
        await device.until(lambda: runs(device) == [SENSE])
        device.watchdog.feed = feed
        await device.run_cycle()

    await Device(cloud, sold(sense(entitlement=1))).live(story)
    assert seen and set(seen) == {1}


async def test_on_an_appliance_that_is_never_off_code_goes_on_to_the_end_of_the_period():
    """EG-ENT-005"""
    cloud = TrustCloud()
    appliance = TinyAppliance()
    appliance.programmes[2] = dumps([2, [{0: 4, 1: {1: 1}, 4: 30, 5: 60}], {0: 60, 1: 3600}])
    appliance.base_programme = 2

    async def story(device):
        await device.until(lambda: cloud.of("birth") and device.agent.cycle.active)
        cloud.down("ent", [token_of(claims_of())])
        await device.until(lambda: runs(device) == [SENSE])
        cloud.down("ent", [token_of(claims_of(2, k4=0))])
        await device.until(lambda: len(cloud.of("ent")) == 2)
        began_ms = device.clock.now_ms
        await device.until(lambda: runs(device) == [])
        assert device.clock.now_ms - began_ms > 3_000_000
        assert device.agent.runner.programme_id == 2

    await Device(cloud, sold(sense(entitlement=1)), appliance).live(story)


async def test_code_that_is_revoked_while_a_cycle_runs_is_stopped_after_it_and_named_in_birth_no_more():
    """EG-TRUST-012, EG-TRUST-014, EG-CODE-005"""
    cloud = TrustCloud()

    async def story(device):
        await device.until(lambda: cloud.of("birth"))
        assert cloud.of("birth")[-1][3][6] == [[PUBLISHER, 1001, 1]]
        device.agent.start_programme(1)
        cloud.offer(5, REVOCATIONS, root().message(list_of(3, features=[[PUBLISHER, 1001, 0, 9]])))
        await device.until(lambda: [row for row in cloud.of("feat") if row[3][0] == 5 and row[3][2] == 4])
        assert device.agent.runner.state and runs(device) == [SENSE]
        await device.until(lambda: device.agent.runner.state == 0)
        await device.until(lambda: runs(device) == [], 5)
        await device.until(lambda: cloud.of("birth")[-1][3][6] == [] and cloud.of("birth")[-1][3][12] == 3)
        await device.until(lambda: [row for row in cloud.of("feat") if (row[3][0], row[3][1], row[3][2]) == (0, 10, 5)])
        await device.until(lambda: len(cloud.usage) == 1)
        for _ in range(2):
            await device.run_cycle()
        await device.until(lambda: len(cloud.usage) == 3)

    flash = sold(sense())
    await Device(cloud, flash).live(story)
    assert 1 not in cloud.usage[(1, 1)] and cloud.usage[(1, 1)][3] == list(SENSE)
    assert 3 not in cloud.usage[(1, 3)] and METER not in cloud.usage[(1, 3)]

    async def later(device):
        await device.until(lambda: len(cloud.of("birth")) and cloud.of("birth")[-1][0] == 2)
        assert cloud.of("birth")[-1][3][6] == [] and runs(device) == []

    await Device(cloud, FaultyFlash(flash.files)).live(later)


async def test_a_programme_that_runs_without_end_gives_way_when_it_is_revoked():
    """EG-TRUST-012: the next safe point of what has no end is not its end."""
    cloud = TrustCloud()
    endless = wash(needs=0, more={5: [1001, [{0: 4, 1: {4: 45}, 4: 30, 5: 60}], {0: 60, 1: 3600}]})

    async def story(device):
        await device.until(lambda: cloud.of("birth"))
        device.agent.start_programme(1001)
        await device.until(lambda: device.agent.runner.programme_id == 1001)
        cloud.offer(5, REVOCATIONS, root().message(list_of(3, publishers=[PUBLISHER])))
        await device.until(lambda: device.agent.runner.state == 0, 60)
        await device.until(lambda: cloud.of("birth")[-1][3][6] == [])

    await Device(cloud, sold(endless)).live(story)
    assert [body[1] for body in cloud.usage.values()] == [1]


async def test_an_appliance_that_is_never_off_goes_on_with_its_base_programme():
    """EG-TRUST-012, EG-USE-020"""
    cloud = TrustCloud()
    endless = wash(needs=0, more={5: [1001, [{0: 4, 1: {4: 45}, 4: 30, 5: 60}], {0: 60, 1: 3600}]})
    appliance = TinyAppliance()
    appliance.programmes[2] = dumps([2, [{0: 4, 1: {4: 30}, 4: 30, 5: 60}], {0: 60, 1: 3600}])
    appliance.base_programme = 2

    async def story(device):
        await device.until(lambda: cloud.of("birth") and device.agent.runner.programme_id == 2)
        device.agent.start_programme(1001)
        await device.until(lambda: appliance.actuators[4] == 45)
        cloud.offer(5, REVOCATIONS, root().message(list_of(3, features=[[PUBLISHER, 1001, 0, 1]])))
        await device.until(lambda: device.agent.runner.programme_id == 2, 60)
        await device.until(lambda: appliance.actuators[4] == 30, 60)
        await device.until(lambda: cloud.of("birth")[-1][3][6] == [])
        await device.until(lambda: len(cloud.usage) == 2)

    await Device(cloud, sold(endless), appliance).live(story)
    base, revoked = [cloud.usage[key] for key in sorted(cloud.usage)]
    assert base[0] == 2 and revoked[3] == [PUBLISHER, 1001] and revoked[1] == 1


async def test_what_could_not_be_read_at_boot_is_read_again():
    """EG-TRUST-014: a flash that had a bad moment must not keep a device from a list until its next boot."""
    cloud = TrustCloud()
    flash = sold(wash(needs=0))
    flash.fail_reads = ("revoked",)

    async def story(device):
        await device.until(lambda: cloud.of("birth"))
        assert cloud.of("birth")[-1][3][6] == []
        flash.fail_reads = ()
        await device.until(lambda: cloud.of("birth")[-1][3][6] == [[PUBLISHER, 1001, 1]])
        cloud.offer(5, REVOCATIONS, root().message(list_of(3)))
        await device.until(lambda: cloud.of("birth")[-1][3][12] == 3)

    await Device(cloud, flash).live(story)


async def test_what_is_revoked_while_it_is_staged_is_told_when_it_is_installed():
    """EG-TRUST-012"""
    cloud = TrustCloud()
    flash = sold(wash(needs=0))
    accept(Grants(flash), list_of(3, features=[[PUBLISHER, 1002, 0, 9]]))
    features = Features(flash)
    file, body = features.staging_file(), wash(1002, needs=0)
    flash.append(file, body)
    features.stage([Record(PUBLISHER, b"g", 1002, 1, 2, file, len(body), sha256(body).digest(), transfer=10)])

    async def story(device):
        await device.until(lambda: [row for row in cloud.of("feat") if (row[3][0], row[3][1], row[3][2]) == (0, 10, 5)])
        assert cloud.of("birth")[-1][3][6] == [[PUBLISHER, 1001, 1]]

    await Device(cloud, flash).live(story)


async def test_rights_that_are_damaged_are_told_in_birth():
    """EG-BIRTH-008"""
    cloud = TrustCloud()
    flash = sold(wash())

    def told():
        return cloud.of("birth")[-1][3][9] & FLAG_RIGHTS

    async def bought(device):
        await device.until(lambda: cloud.of("birth"))
        assert not told()
        cloud.down("ent", [token_of(claims_of())])
        await device.until(lambda: cloud.of("ent"))

    await Device(cloud, flash).live(bought)
    for name in ("ent.7.1001", "grant.7", "root"):
        rotten = FaultyFlash(dict(flash.files))
        rotten.rot(name, 50)

        async def told_so(device):
            await device.until(lambda: cloud.of("birth")[-1][0] == device.agent.boot_number and told())

        await Device(cloud, rotten).live(told_so)
    blind = FaultyFlash(dict(flash.files))
    blind.fail_reads = ("revoked",)

    async def once(device):
        await device.until(lambda: cloud.of("birth")[-1][3][6] == [] and told())
        blind.fail_reads = ()
        await device.until(lambda: cloud.of("birth")[-1][3][6] and not told())

    await Device(cloud, blind).live(once)


async def test_the_time_by_which_a_grant_ends_is_kept_over_a_boot_that_knows_none():
    """EG-TRUST-015"""
    cloud = TrustCloud()
    flash = sold()
    accept(Grants(flash), grant_of(sequence=2, k13=NOW + DAY, **RIGHTS))

    async def story(device):
        await device.until(lambda: "seen" in device.flash.files)

    await Device(cloud, flash).live(story)
    clock = Clock(None)
    seen = SeenTime(flash, clock, clock)
    assert seen.now_s >= NOW
