"""Deliberate defects of configuration, as in `planted`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from evergrow_agent import checked, settings
from evergrow_agent.settings import Settings
from evergrow_cloud import configs


@contextmanager
def configuration_is_not_durable() -> Iterator[None]:
    """It is in force, and reported; the flash never has it."""
    save = checked.save

    def others(flash: Any, name: str, content: bytes) -> None:
        if name != settings._FILE:
            save(flash, name, content)

    with mock.patch.object(checked, "save", others):
        yield


@contextmanager
def configuration_is_applied_while_it_is_checked() -> Iterator[None]:
    """The home of one that is refused is joined all the same."""
    receive = Settings._receive

    def greedy(self: Settings, version: int, values: Any, payload: Any) -> None:
        try:
            receive(self, version, values, payload)
        except Exception:
            self.home = values.get(configs.HOME, self.home)
            raise

    with mock.patch.object(Settings, "_receive", greedy):
        yield


@contextmanager
def configuration_is_sent_once() -> Iterator[None]:
    """The cloud believes PUBACK: one that the broker lost is never sent again."""
    reported = configs.reported

    def noted(store: Any, device_id: int, state: Any) -> bool:
        due = store.row("SELECT due FROM configs WHERE device_id = ?", device_id)
        reported(store, device_id, state)
        if due:
            store.execute("UPDATE configs SET due = ? WHERE device_id = ?", due[0], device_id)
        return False

    with mock.patch.object(configs, "born", lambda store, device_id: False), mock.patch.object(configs, "reported", noted):
        yield


BUGS: dict[str, Callable[[], Any]] = {
    bug.__name__: bug
    for bug in (
        configuration_is_not_durable,
        configuration_is_applied_while_it_is_checked,
        configuration_is_sent_once,
    )
}
