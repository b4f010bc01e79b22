"""The sentences of SPEC.md that can be tested: a bullet that begins with an id, `- **EG-ACK-003** The cloud counts ...`."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

ID = re.compile(r"\bEG-[A-Z]{2,6}-[0-9]{3}\b")
_SENTENCE = re.compile(r"- \*\*(EG-[A-Z]{2,6}-[0-9]{3})\*\* (.*)")
_HEADING = re.compile(r"#{2,} (?:([0-9.]+?|[A-Z])\.? )?(.+)")
_VERSION = re.compile(r"Protocol version:? ([0-9]+\.[0-9]+)\b")
_HASH_DIGITS = 16


class SpecError(Exception):
    """A file of the specification cannot be read or contradicts itself; the message names the file and the line."""


@dataclass(frozen=True)
class Sentence:
    """One testable sentence. `text` on one line, without its id; `section`: the number of the section it stands in."""

    id: str
    text: str
    line: int
    section: str

    @property
    def digest(self) -> str:
        """What a release remembers of the text: breaking lines elsewhere does not change it."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:_HASH_DIGITS]


@dataclass(frozen=True)
class Spec:
    """SPEC.md. `sentences` in its order, an id twice included; `mentions`: (id, line) wherever one is named; `version`: "1.0"."""

    sentences: tuple[Sentence, ...]
    mentions: tuple[tuple[str, int], ...]
    version: str

    def find(self, id: str) -> Sentence | None:
        return next((sentence for sentence in self.sentences if sentence.id == id), None)


def read(path: Path) -> Spec:
    """Raises SpecError."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from None


def parse(text: str) -> Spec:
    """A sentence goes on over the lines below it that are indented; a blank line, a bullet or a heading ends it."""
    sentences: list[Sentence] = []
    mentions: list[tuple[str, int]] = []
    section = ""
    version = _VERSION.search(text)
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        mentions += [(found, number) for found in ID.findall(line)]
        if heading := _HEADING.fullmatch(line):
            section = heading[1] or heading[2]
        elif start := _SENTENCE.fullmatch(line):
            words = [start[2].strip(), *_continued(lines, number)]
            sentences.append(Sentence(start[1], " ".join(" ".join(words).split()), number, section))
    return Spec(tuple(sentences), tuple(mentions), version[1] if version else "")


def _continued(lines: list[str], number: int) -> list[str]:
    words = []
    for line in lines[number:]:
        if not line.startswith("  ") or line.lstrip().startswith("- "):
            break
        words.append(line.strip())
    return words
