"""What the agent does with its flash for what users say, as a scenario for `cutpoints`. Portable."""

from evergrow_agent.timebase import Timebase
from evergrow_agent.voice import SAYINGS_MAX, Voice
from evergrow_protocol.messages import VOICE_WISH, record_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Clock:
    def ticks_ms(self) -> int:
        return 1000

    def utc_s(self) -> None:
        return None


class Sayings:
    """Sayings are taken until there is no room, heard, and taken again; none is lost or said twice (EG-VOICE-001)."""

    def __init__(self) -> None:
        self._boot = 1  # that of `prepare`
        self._said = 0
        self._taken = [(1, 1), (1, 2)]
        self._heard: "list[tuple[int, int]]" = []
        self._under_way: "tuple[int, int] | None" = None

    def prepare(self, flash: "Any") -> None:
        voice = Voice(flash, Timebase(_Clock()))
        voice.boot = 1
        for number in range(2):
            voice.say(VOICE_WISH, 1, f"wish {number}")

    def live(self, flash: "Any") -> None:
        voice = self._open(flash)
        self._say(voice, 2)
        self._hear(voice, 3)
        self._say(voice, SAYINGS_MAX - 1)
        self._hear(voice, SAYINGS_MAX)

    def recover(self, flash: "Any") -> None:
        self._open(flash)

    def state(self, flash: "Any") -> "Any":
        return self._ids(self._open(flash))

    def check(self, flash: "Any") -> "str | None":
        found = self._ids(self._open(flash))
        due = [one for one in self._taken if one not in self._heard]
        if found not in (due, [one for one in due if one != self._under_way], due + [self._under_way]):
            return f"{found} on flash, not {due}, of which {self._under_way} was under way"
        return None

    def _open(self, flash: "Any") -> Voice:
        voice = Voice(flash, Timebase(_Clock()))
        self._boot += 1
        self._said = 0
        voice.boot = self._boot
        return voice

    def _say(self, voice: Voice, count: int) -> None:
        for number in range(count):
            self._said += 1
            self._under_way = (voice.boot, self._said)
            self._taken.append(voice.say(VOICE_WISH, 1, f"wish {number}"))
        self._under_way = None

    def _hear(self, voice: Voice, count: int) -> None:
        for one in [one for one in self._taken if one not in self._heard][:count]:
            self._under_way = one
            voice.heard(*one)
            self._heard.append(one)
        self._under_way = None

    def _ids(self, voice: Voice) -> "list[tuple[int, int]]":
        found = []
        envelope = voice.next()
        while envelope:
            found.append(record_id(envelope))
            envelope = voice.next()
        return found
