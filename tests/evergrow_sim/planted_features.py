"""Deliberate defects of the life of features, as in `planted`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from evergrow_agent import lifecycle, runtime
from evergrow_agent.agent import Agent
from evergrow_agent.cycle import Cycle
from evergrow_agent.entitlements import Entitlements
from evergrow_agent.fetch import Fetcher
from evergrow_agent.lifecycle import Lifecycle
from evergrow_agent.runtime import Runtime
from evergrow_protocol.errors import STORAGE, ProtocolError


@contextmanager
def trial_is_confirmed_at_once() -> Iterator[None]:
    with mock.patch.object(lifecycle, "_passed", lambda record, now_ms: True):
        yield


@contextmanager
def faults_of_a_trial_count_as_good() -> Iterator[None]:
    on_cycle = Lifecycle.on_cycle
    with mock.patch.object(Lifecycle, "on_cycle", lambda self, used, fault: on_cycle(self, used, False)):
        yield


@contextmanager
def cycles_of_a_trial_are_not_counted() -> Iterator[None]:
    with mock.patch.object(Lifecycle, "on_cycle", lambda self, used, fault: None):
        yield


@contextmanager
def other_features_are_in_force_and_nobody_is_told() -> Iterator[None]:
    with mock.patch.object(Agent, "_features_changed", lambda self: self.code.sync()):
        yield


@contextmanager
def cancel_is_answered_and_not_done() -> Iterator[None]:
    with (
        mock.patch.object(Lifecycle, "cancel", lambda self, transfer: False),
        mock.patch.object(Fetcher, "cancel", lambda self, transfer: False),
    ):
        yield


@contextmanager
def consent_is_taken_for_granted() -> Iterator[None]:
    with mock.patch.object(Lifecycle, "_may", lambda self, news: True):
        yield


@contextmanager
def unlock_is_charged_whenever_it_is_there() -> Iterator[None]:
    """Also for cycles that never went beyond the limit of the appliance."""

    def used(self: Cycle, owners: Any) -> "list[tuple[int, int]]":
        return list(owners) + [owner for _, owner in self._owners if owner not in owners]

    with mock.patch.object(Cycle, "_used", used):
        yield


@contextmanager
def code_that_fails_goes_on() -> Iterator[None]:
    with mock.patch.object(runtime, "FAILURES_MAX", 1 << 30):
        yield


@contextmanager
def code_that_hangs_is_forgiven_after_a_minute() -> Iterator[None]:
    """As it was: whoever waits for a minute between two attempts can never wash again."""
    tick = Runtime.tick

    def forgiving(self: Runtime, now_ms: int, event: int) -> None:
        since_ms = self.__dict__.setdefault("since_ms", now_ms)
        if now_ms - since_ms >= 60_000 and not self.struck:
            self.forgive()
        tick(self, now_ms, event)

    with mock.patch.object(Runtime, "tick", forgiving):
        yield


@contextmanager
def nothing_starts_without_storage() -> Iterator[None]:
    """Not even what the appliance can do by itself."""
    start = Cycle.start

    def careful(self: Cycle, *args: Any) -> None:
        if not self._ledger.healthy:
            raise ProtocolError(STORAGE, "usage cannot be recorded")
        start(self, *args)

    with mock.patch.object(Cycle, "start", careful):
        yield


@contextmanager
def uses_come_back_with_power() -> Iterator[None]:
    """What was used of an entitlement is counted in RAM."""

    def use(self: Entitlements, publisher: int, feature: int, boot: int, seq: int) -> None:
        held = self._held.get((publisher, feature))
        if held is not None and held.what.uses >= 0:
            held.used += 1

    with mock.patch.object(Entitlements, "use", use):
        yield


@contextmanager
def nobody_asks_for_an_entitlement() -> Iterator[None]:
    with mock.patch.object(Entitlements, "check", lambda self, *which: None):
        yield


BUGS: dict[str, Callable[[], Any]] = {
    bug.__name__: bug
    for bug in (
        trial_is_confirmed_at_once,
        faults_of_a_trial_count_as_good,
        cycles_of_a_trial_are_not_counted,
        other_features_are_in_force_and_nobody_is_told,
        cancel_is_answered_and_not_done,
        consent_is_taken_for_granted,
        unlock_is_charged_whenever_it_is_there,
        code_that_fails_goes_on,
        code_that_hangs_is_forgiven_after_a_minute,
        nothing_starts_without_storage,
        uses_come_back_with_power,
        nobody_asks_for_an_entitlement,
    )
}
