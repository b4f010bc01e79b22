"""Deliberate defects of what may be used: grants, revocation lists and entitlements that end; as in `planted`."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from evergrow_agent import checked
from evergrow_agent.agent import Agent
from evergrow_agent.entitlements import Entitlements
from evergrow_agent.grants import LIST, Grants, _Nothing
from evergrow_agent.rights import Rights
from evergrow_agent.runner import IDLE
from evergrow_agent.seentime import SeenTime
from evergrow_cloud import offers


@contextmanager
def a_list_is_reported_before_it_is_durable() -> Iterator[None]:
    replace = checked.replace

    def forgetful(flash: Any, name: str, content: bytes) -> None:
        if name != LIST:
            replace(flash, name, content)

    with mock.patch.object(checked, "replace", forgetful):
        yield


@contextmanager
def a_list_is_forgotten_with_power() -> Iterator[None]:
    def nothing(self: Grants) -> None:
        self._doubt = False

    with mock.patch.object(Grants, "_load_list", nothing):
        yield


@contextmanager
def an_older_list_is_accepted_after_a_reboot() -> Iterator[None]:
    """What is on flash counts, but what may follow is known by what came in this boot."""
    take = Grants._take_list

    def careless(self: Grants, payload: Any, now_s: int) -> Any:
        if not self.__dict__.get("came"):
            self.revocations = _Nothing()
        self.__dict__["came"] = True
        return take(self, payload, now_s)

    with mock.patch.object(Grants, "_take_list", careless):
        yield


@contextmanager
def a_list_is_applied_in_the_middle_of_a_cycle() -> Iterator[None]:
    acceptor = Agent._acceptor

    def hasty(self: Agent, content: int) -> Any:
        accept = acceptor(self, content)

        def accepted(data: memoryview) -> Generator[int, None, None]:
            yield from accept(data)
            owners = [row[:2] for row in self.rights.revoked()]
            if self.runner.state != IDLE and any(owner in owners for owner in self.cycle._programme_of):
                self.cycle.stop(self.board.clock.ticks_ms())

        return accepted

    with mock.patch.object(Agent, "_acceptor", hasty):
        yield


@contextmanager
def what_is_revoked_goes_on_until_the_next_boot() -> Iterator[None]:
    """As if it were looked at when features are loaded, and then no more."""
    revoked = Grants.revoked

    def late(self: Grants, *version: Any) -> bool:
        known: dict[Any, bool] = self.__dict__.setdefault("known", {})
        return known.setdefault(version, revoked(self, *version))

    with mock.patch.object(Grants, "revoked", late):
        yield


@contextmanager
def nobody_is_told_what_is_revoked() -> Iterator[None]:
    with mock.patch.object(Agent, "_tell_revoked", lambda self, now_ms: setattr(self, "_trust_told", True)):
        yield


@contextmanager
def what_was_revoked_while_it_was_staged_is_not_told() -> Iterator[None]:
    """As it was."""

    def changed(self: Agent) -> None:
        self.code.sync(self.cycle.active)
        self.link.publish_birth()

    with mock.patch.object(Agent, "_features_changed", changed):
        yield


@contextmanager
def what_cannot_be_read_at_boot_is_never_read() -> Iterator[None]:
    """As it was: until the next boot nobody was trusted, and no list was taken."""
    load = Grants.load

    def once(self: Grants) -> bool:
        return False if "readable" in self.__dict__ else load(self)

    with mock.patch.object(Grants, "load", once):
        yield


@contextmanager
def entitlements_go_by_the_clock() -> Iterator[None]:
    """Not by the highest time that was seen."""

    def tick(self: SeenTime) -> None:
        self.now_s = self._timebase._shown() or 0

    with mock.patch.object(SeenTime, "tick", tick):
        yield


@contextmanager
def running_without_utc_is_not_counted() -> Iterator[None]:
    why_not = Entitlements._why_not

    def lenient(self: Entitlements, held: Any, sequence: int) -> str:
        self._seen.offline_s = 0
        with mock.patch.object(self._seen, "tick", lambda: None):
            return why_not(self, held, sequence)

    with mock.patch.object(Entitlements, "_why_not", lenient):
        yield


@contextmanager
def grants_count_when_a_feature_is_installed_and_then_no_more() -> Iterator[None]:
    def admit(self: Rights, owner: Any, what: Any = None) -> Any:
        self._check(owner)
        return self._grants.actuators(owner[0])

    with mock.patch.object(Rights, "admit", admit), mock.patch.object(Rights, "admit_code", admit):
        yield


@contextmanager
def limits_of_a_grant_are_not_looked_at() -> Iterator[None]:
    with (
        mock.patch.object(Grants, "check_programme", lambda self, *what: None),
        mock.patch.object(Grants, "check_needs", lambda self, *what: None),
    ):
        yield


@contextmanager
def grants_never_end() -> Iterator[None]:
    with mock.patch.object(Grants, "check_time", lambda self, publisher, now_s: None):
        yield


@contextmanager
def a_list_for_which_there_was_no_room_is_not_offered_again() -> Iterator[None]:
    """As it was."""

    def refused(store: Any, tenant: str, device: str, envelope: bytes) -> bool:
        row = store.row(
            "SELECT 1 FROM transfers JOIN devices ON devices.id = device_id JOIN blobs ON sha256 = envelope"
            " WHERE device = ? AND data = ? AND content > 0 AND open = 0 AND transfers.state = ?",
            device,
            envelope,
            offers.REFUSED,
        )
        return row is not None

    with mock.patch.object(offers, "refused", refused):
        yield


BUGS: dict[str, Callable[[], Any]] = {
    bug.__name__: bug
    for bug in (
        a_list_is_reported_before_it_is_durable,
        a_list_is_forgotten_with_power,
        an_older_list_is_accepted_after_a_reboot,
        a_list_is_applied_in_the_middle_of_a_cycle,
        what_is_revoked_goes_on_until_the_next_boot,
        nobody_is_told_what_is_revoked,
        what_was_revoked_while_it_was_staged_is_not_told,
        what_cannot_be_read_at_boot_is_never_read,
        entitlements_go_by_the_clock,
        running_without_utc_is_not_counted,
        grants_count_when_a_feature_is_installed_and_then_no_more,
        limits_of_a_grant_are_not_looked_at,
        grants_never_end,
        a_list_for_which_there_was_no_room_is_not_offered_again,
    )
}
