"""Commands in the database: sent in time or never, answered once and by the right device."""

from typing import Any

import cbor2
import pytest
from scripted_device import envelope

from evergrow_cloud import commands, devices, wire
from evergrow_cloud.errors import WireError
from evergrow_cloud.store import Store


def go_online(store: Store, device: str = "washer-1") -> int:
    with store.transaction():
        device_id = devices.ensure(store, "acme", device)
        devices.heard(store, device_id)
    return device_id


def respond(store: Store, device_id: int, number: int, code: int, result: Any = None) -> bool:
    raw = envelope(7, 1, [number, code] if result is None else [number, code, result])
    with store.transaction():
        return commands.answer(store, device_id, wire.decode("rsp", raw), raw)  # type: ignore[arg-type]


def test_a_command_is_due_until_it_is_sent(store: Store) -> None:
    device_id = go_online(store)
    number = commands.add(store, device_id, commands.START, {0: 3}, 1_795_339_260, timeout_s=30)
    (due,) = commands.due(store, 10)
    assert cbor2.loads(due.message) == [number, 1, {0: 3}, 1_795_339_260]
    commands.sent(store, number)
    assert commands.due(store, 10) == []
    assert commands.result(store, number) is None
    assert respond(store, device_id, number, 11, {0: "x"})
    assert commands.result(store, number) == (11, {0: "x"})


def test_a_command_that_waited_too_long_is_never_sent(store: Store, clock: Any) -> None:
    device_id = go_online(store)
    commands.add(store, device_id, commands.START, {0: 3}, None, timeout_s=30)
    clock.utc_s += 31
    assert commands.due(store, 10) == []


def test_a_command_waits_for_its_device(store: Store) -> None:
    device_id = go_online(store)
    raw = envelope(7, 0, {0: 0})
    with store.transaction():
        devices.record_state(store, device_id, wire.decode("state", raw), raw)  # type: ignore[arg-type]
    commands.add(store, device_id, commands.STOP, {}, None, timeout_s=30)
    assert commands.due(store, 10) == []
    go_online(store)
    assert len(commands.due(store, 10)) == 1


def test_only_the_first_answer_counts(store: Store) -> None:
    """EG-CMD-004"""
    device_id = go_online(store)
    number = commands.add(store, device_id, commands.STOP, {}, None, timeout_s=30)
    assert respond(store, device_id, number, 0)
    assert not respond(store, device_id, number, 11)
    assert commands.result(store, number) == (0, None)


def test_nobody_answers_for_another_device(store: Store) -> None:
    device_id = go_online(store)
    other = go_online(store, "washer-2")
    number = commands.add(store, device_id, commands.STOP, {}, None, timeout_s=30)
    assert not respond(store, other, number, 0)
    assert not respond(store, device_id, number + 1, 0)
    assert commands.result(store, number) is None


def test_old_commands_are_forgotten(store: Store, clock: Any) -> None:
    device_id = go_online(store)
    for _ in range(3):
        commands.add(store, device_id, commands.STOP, {}, None, timeout_s=30)
        clock.utc_s += commands.KEEP_S + 100
    assert store.rows("SELECT count(*) FROM commands") == [(1,)]


def test_arguments_that_cannot_be_encoded_are_refused(store: Store) -> None:
    device_id = go_online(store)
    with pytest.raises(WireError):
        commands.add(store, device_id, commands.START, {0: 1.5}, None, timeout_s=30)
    assert store.rows("SELECT count(*) FROM commands") == [(0,)]
