"""The configuration that the cloud desires, as a scenario for `cutpoints` (EG-CFG-001). Portable."""

from evergrow_agent.settings import Settings
from evergrow_protocol.cbor import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VERSIONS = (1, 2, 5, 6)


class Configurations:
    """One after the other arrives, each twice; the second is too large for LittleFS2's log, and has blocks of its own."""

    def __init__(self) -> None:
        self._done = 0

    def prepare(self, flash: "Any") -> None:
        self._receive(flash, 0)

    def live(self, flash: "Any") -> None:
        for number in range(1, len(_VERSIONS)):
            self._receive(flash, number)
            self._done = number
            self._receive(flash, number)

    def recover(self, flash: "Any") -> None:
        self._load(flash)

    def state(self, flash: "Any") -> "Any":
        settings = self._load(flash)
        return settings.version, settings.keepalive_s, settings.home, settings.features

    def check(self, flash: "Any") -> "str | None":
        settings = self._load(flash)
        if settings.version not in _VERSIONS[self._done : self._done + 2]:
            return f"version {settings.version} is in force after {_VERSIONS[self._done]}"
        number = _VERSIONS.index(settings.version)
        found = (settings.keepalive_s, settings.home, settings.features, settings.code)
        if found != (100 + number, f"home-{number}", {(2, 1020): {1: number}}, 0):
            return f"version {settings.version} is not whole"
        self._receive(flash, len(_VERSIONS) - 1)
        again = self._load(flash)
        return None if again.reported() == [_VERSIONS[-1], 0] else f"{again.reported()} after it was sent again"

    def _receive(self, flash: "Any", number: int) -> None:
        values: "dict[int, Any]" = {2: 100 + number, 3: f"home-{number}", 4: [[2, 1020, {1: number}]]}
        values[99] = bytes(400 if number == 1 else 1)
        settings = self._load(flash)
        settings.receive(dumps([_VERSIONS[number], values]))

    def _load(self, flash: "Any") -> Settings:
        settings = Settings(flash)
        settings.load()
        return settings
