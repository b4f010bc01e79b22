"""What decayed of usage records is told, and costs no more than itself."""

from agentworld import Cloud, Device
from faultyflash import FaultyFlash

HEAP = "1M"


async def test_damage_to_usage_records_is_told_in_birth_and_again_when_it_grows():
    """EG-USE-011"""
    cloud = Cloud()

    async def offline(device):
        cloud.acks = False
        for _ in range(3):
            await device.run_cycle()
        await device.until(lambda: len(cloud.usage) == 3)

    flash = FaultyFlash()
    await Device(cloud, flash).live(offline)
    assert all([13 not in birth[3] for birth in cloud.of("birth")])
    flash = FaultyFlash(flash.files)
    flash.rot("use.00000001", 8 * 30)  # in the first record
    cloud.usage.clear()
    device = Device(cloud, flash)

    async def online(device):
        await device.until(lambda: len(cloud.usage) == 2)
        assert cloud.of("birth")[-1][:2] == [2, 1] and cloud.of("birth")[-1][3][13] == [1, 0, 0]
        device.flash.rot("use.00000001", 8 * (len(device.flash.files["use.00000001"]) - 5))  # and now in the last
        device.agent.ledger.journal._chunk_of = 0  # it is read anew, as when there is more than fits in RAM
        device.agent.link.publish_birth()  # all is announced again
        await device.until(lambda: cloud.of("birth")[-1][3].get(13) == [1, 0, 1])

    await device.live(online)
    assert sum(device.agent.crashes.values()) == 0, device.agent.last_crash


async def test_a_checkpoint_or_sums_that_decayed_are_lost_records():
    """EG-USE-011"""
    cloud = Cloud()
    flash = FaultyFlash()

    async def started(device):
        device.agent.start_programme(1)

    await Device(cloud, flash).live(started)
    flash = FaultyFlash(flash.files)
    flash.rot("cycle", 100)
    flash.files["use.merged"] = b"no check fits"
    device = Device(cloud, flash)

    async def online(device):
        await device.until(lambda: cloud.of("birth"))
        assert cloud.of("birth")[-1][3][13] == [0, 0, 2]

    await device.live(online)
