"""Whatever the world's devices, homes and clouds say is what the CDDL says, as a program of others reads it."""

import pytest

from evergrow_protocol import message_table, topics
from evergrow_sim.world.broker_packets import Publish
from evergrow_sim.world.grammar import Tap
from evergrow_sim.world.run import run
from evergrow_tools import grammar

RUNS = ((0, "none"), (3, "light"), (16, "heavy"), (17, "heavy"), (21, "heavy"))


def test_every_message_of_a_run_is_within_the_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    """EG-ENC-007"""
    said: set[tuple[str, bytes]] = set()
    tapped = Tap.__call__

    def listen(tap: Tap, client_id: str, publish: Publish) -> None:
        _, _, direction, kind = topics.parse(publish.topic)
        said.add((f"{direction}/{kind}", bytes(publish.payload)))
        tapped(tap, client_id, publish)

    monkeypatch.setattr(Tap, "__call__", listen)
    for seed, faults in RUNS:
        run(seed, faults)
    kinds, check = message_table.load().kinds, grammar.checker()
    refused = {kind: refusal for kind, data in said if (refusal := check(kinds[kind].rule_name, data))}
    refused.pop("dn/cfg", "")  # The world's cloud desires, among others, what devices are to refuse.
    assert not refused
    missing = set(kinds) - {kind for kind, _ in said}
    assert missing <= {"home/scene"}, f"these kinds are said in none of {RUNS}"  # nobody in the world makes scenes
