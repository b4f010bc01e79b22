"""A feature is installed, upgraded, by a patch too, reverted, uninstalled: each from what starts it to what ends it. Portable.

After every cut the old is in force or the new, whole; no file is there that no record names; and what is offered again ends as
it would have without the cut.
"""

import binascii

from evergrow_agent.features import Features
from evergrow_agent.lifecycle import MAX_BOOTS
from evergrow_agent.progress import Progress
from evergrow_agent.records import CONFIRMED, REMOVED, REVERTED
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import REVERT
from evergrow_sim.cutscenario_features import FEATURE, OTHER, Life, body_of, look, write
from evergrow_sim.cutscenario_offer import BLOCK_BYTES, CLASS, PUBLISHER, VENDOR, Cloud, boot, digest_of, found, signer
from evergrow_sim.publisher import feature_manifest, manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_COMPONENT = (b"acme", b"cut")
_FITS = [20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]
_TEXTS = {
    80: b"".join([b"step %d of 80, then turn\n" % i for i in range(80)]),
    81: b"".join([b"heat to %d\n" % (30 + i) for i in range(60)]),
}
# zlib.compressobj(9, DEFLATED, -12, 8, zdict=body_of(1, 30, _TEXTS)), of body_of(2, 31, _TEXTS)
_PATCH = binascii.unhexlify("edd7210100000803b02874a03435af1068ec5a6c736ed17b8b6271d7700dd7700dd7700dd7700dd7700dd7f85c23")


class Offered:
    """What all of these have in common: `before` and `after`, the versions in force, 0 for none, and the offer between them.

    Another feature, which nobody touches, stays. A trial that was cut so often that it is a crash loop ends with `before`.
    """

    def __init__(self, before: int, after: int, payloads: "list[bytes]", last: int = CONFIRMED) -> None:
        self._before = before
        self._after = after
        self._cloud = Cloud(9, payloads, last)

    def prepare(self, flash: "Any") -> None:
        features = Features(flash)
        features.activate(write(flash, features, 1, OTHER))
        features.confirm(1)
        if self._before:
            new = write(flash, features, self._before, more=_TEXTS, component=dumps(_COMPONENT))
            new.transfer = 2
            features.activate(new)
            features.confirm(2)

    def live(self, flash: "Any") -> None:
        self._cloud.offer(flash)

    def recover(self, flash: "Any") -> None:
        boot(flash)

    def state(self, flash: "Any") -> "Any":
        return found(flash).active(), sorted(flash.names())

    def check(self, flash: "Any") -> "str | None":
        wrong = self._look(flash, (self._before, self._after))
        if wrong:
            return wrong
        self._cloud.offer(flash)
        expected = self._before if self._cloud.heard(REVERT, REVERTED) else self._after
        wrong = self._look(flash, (expected,))
        return f"{wrong}, when it was offered again: {self._cloud.said}" if wrong else None

    def _look(self, flash: "Any", allowed: "Sequence[int]") -> "str | None":
        pulled = Progress(flash).files
        return look(flash, Features(flash, pulled), allowed, pulled)


class Install(Offered):
    """A feature that is new here, of several erase blocks (EG-FEAT-007)."""

    def __init__(self) -> None:
        body = body_of(1, 30, _TEXTS)
        Offered.__init__(self, 0, 1, [signer().envelope(feature_manifest(body, _COMPONENT, VENDOR, CLASS, 1)), body])


class Transfer(Offered):
    """An upgrade of several erase blocks, the only feature here; after a cut it goes on where it was (EG-FEAT-016)."""

    def __init__(self) -> None:
        body = body_of(2, 2, {80: b"r" * 2000, 81: b"s" * 2000, 82: b"t" * 900})
        Offered.__init__(self, 1, 2, [signer().envelope(feature_manifest(body, _COMPONENT, VENDOR, CLASS, 2)), body])

    def prepare(self, flash: "Any") -> None:
        features = Features(flash)
        features.activate(write(flash, features, 1, component=dumps(_COMPONENT)))
        features.confirm(1)

    def check(self, flash: "Any") -> "str | None":
        progress = Progress(flash)
        features = Features(flash, progress.files)
        if features.problems or features.active() not in ([(PUBLISHER, FEATURE, 1)], [(PUBLISHER, FEATURE, 2)]):
            return f"active {features.active()}, problems {features.problems}"
        pulled = features.active()[0][2] == 2  # then its envelope alone is asked for, to see whether it is whole
        stored = 0 if pulled else max([0] + [flash.size(name) for name in progress.files])
        cloud = self._cloud
        cloud.offer(flash)
        if stored and [1 for payload, block in cloud.asked if not payload or block < stored // BLOCK_BYTES]:
            return f"{stored} bytes were there, and {cloud.asked} was asked for"
        # Cut twice on trial and started twice more, it has started four times without a minute of good work: a crash loop.
        expected = 1 if cloud.heard(REVERT, REVERTED) else 2
        if Features(flash).active() != [(PUBLISHER, FEATURE, expected)]:
            return f"offered again it ends with {Features(flash).active()}: {cloud.said}"
        names = sorted(flash.names())
        if len(names) != 2:
            return f"files are left: {names}"
        return None


class Delta(Offered):
    """An upgrade by a patch on what is installed; nothing else is there to be fetched (EG-SUIT-007)."""

    def __init__(self) -> None:
        old, new = body_of(1, 30, _TEXTS), body_of(2, 31, _TEXTS)
        made = {3: digest_of(new), 14: len(new)}
        fits = [20, {3: digest_of(old), 14: len(old)}, 3, 0]
        there = dumps([20, made, 3, 15])  # after a cut, the new one may be in force already
        ways = [there, dumps(fits + [20, made, 20, {21: f"evergrow:2?patch={len(_PATCH)}"}, 21, 2, 3, 15])]
        sections = {20: [15, ways], 7: [20, made, 3, 15]}
        Offered.__init__(self, 1, 2, [signer().envelope(manifest(_FITS, sections, (_COMPONENT,), 2)), b"", _PATCH])


class Uninstall(Offered):
    """A manifest that removes (EG-SUIT-005)."""

    def __init__(self) -> None:
        Offered.__init__(self, 1, 0, [signer().envelope(manifest(_FITS, {24: [33, 15]}, (_COMPONENT,), 2))], REMOVED)

    def check(self, flash: "Any") -> "str | None":
        wrong = Offered.check(self, flash)
        if wrong:
            return wrong
        if found(flash).sequence(PUBLISHER, dumps(_COMPONENT)) != 2:
            return "its sequence number is forgotten"
        return None


class Revert(Life):
    """A crash loop, whose boots are counted, and code that fails: the version before is in force again (EG-FEAT-024)."""

    def prepare(self, flash: "Any") -> None:
        Life.prepare(self, flash)
        features, lifecycle = self._boot(flash)
        lifecycle.place([write(flash, features, 2)])

    def live(self, flash: "Any") -> None:
        self._allowed = (1, 2)
        for _ in range(MAX_BOOTS + 1):
            features, lifecycle = self._boot(flash)
        self._allowed = (1, 3)
        lifecycle.place([write(flash, features, 3)])
        lifecycle.fail(PUBLISHER, FEATURE, "its code raised")
        lifecycle.step()
        self._allowed = (1,)

    def state(self, flash: "Any") -> "Any":
        """Not what is on trial: each boot counts against that."""
        return sorted([(record.feature, record.whole) for record in Features(flash).records if record.sequence == 1])


SCENARIOS = {"transfer": Transfer, "install": Install, "delta": Delta, "revert": Revert, "uninstall": Uninstall}
