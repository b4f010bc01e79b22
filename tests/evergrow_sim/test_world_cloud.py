"""The cloud end of the world does as the service does: nothing is acknowledged that is not stored (EG-ACK-002)."""

from typing import Any
from unittest import mock

from evergrow_cloud.ingest import Ingest
from evergrow_sim.world import scenario
from evergrow_sim.world.cloud_client import CommittingClient
from evergrow_sim.world.house import House
from evergrow_sim.world.world import World


def test_pubacks_follow_the_commit() -> None:
    """EG-ACK-002"""
    told: list[str] = []
    apply, acknowledge = Ingest.apply, CommittingClient.acknowledge

    def applied(self: Ingest, batch: Any, now_s: float) -> Any:
        outcome = apply(self, batch, now_s)
        told.append(f"stored {sum('/up/tele' not in one.topic and '/up/get' not in one.topic for one in batch)}")
        return outcome

    async def acknowledged(self: CommittingClient, packet_id: int) -> None:
        told.append("puback")
        await acknowledge(self, packet_id)

    with (
        World(3) as world,
        mock.patch.object(Ingest, "apply", applied),
        mock.patch.object(CommittingClient, "acknowledge", acknowledged),
    ):
        house = House(world, scenario.make(3), lambda rule, device, what: None)
        house.open()
        world.run(until_ms=300_000)
        assert house.cloud.store.rows("SELECT count(*) FROM devices WHERE birth IS NOT NULL")[0][0] == len(house.residents)
    stored = 0
    for what in told:
        stored += -1 if what == "puback" else int(what.split()[1])
        assert stored >= 0
    assert stored == 0 and "puback" in told
