"""What users said at an appliance, and whether the cloud has all of it, once: the rule `voice`."""

from collections.abc import Iterable

from evergrow_cloud.voices import Saying


class Said:
    """The words of one appliance's users, each another. `taken`: those whose user was told so; `doubtful`: power, or the flash,
    failed meanwhile.
    """

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.doubtful: list[str] = []
        self._count = 0

    def next_text(self) -> str:
        """The next thing to say."""
        self._count += 1
        return f"no. {self._count}"

    def lost(self, heard: Iterable[Saying]) -> None:
        """What the cloud has not got may never come."""
        texts = [saying.text or "" for saying in heard]
        self.doubtful += [text for text in self.taken if text not in texts]
        self.taken = [text for text in self.taken if text in texts]

    def explain(self, heard: Iterable[Saying]) -> str:
        """"" when the cloud has just what was said, else what it lacks or has wrongly."""
        texts = [saying.text or "" for saying in heard]
        twice = [text for text in texts if texts.count(text) > 1]
        if twice:
            return f"{twice[0]!r} is there twice"
        missing = [text for text in self.taken if text not in texts]
        if missing:
            return f"{missing[0]!r} was taken and never arrived"
        unsaid = [text for text in texts if text not in self.taken and text not in self.doubtful]
        return f"{unsaid[0]!r} was never said" if unsaid else ""
