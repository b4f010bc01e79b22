"""Holds SPEC.md, its tests, `protocol/ids.toml` and `protocol/released.json` against each other.

ids.toml is written by people, each entry with its reason:

    [unproven]      # no test names it
    EG-XYZ-nnn = "needs a certified laboratory"
    [retired]       # was in a release, is in SPEC.md no more, and is never used again
    EG-XYZ-nnn = "1.2: replaced by EG-XYZ-mmm"
    [reworded]      # its text differs from what was released, and still means the same
    EG-XYZ-nnn = "a typing error"

released.json is written by `evergrow spec release` alone: {id: {"since": version, "text": hash of the sentence}}.
"""

import json
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evergrow_protocol import message_table
from evergrow_protocol.message_table import TableError
from evergrow_tools import spec_compat, spec_ids, spec_proofs
from evergrow_tools.spec_ids import Spec, SpecError
from evergrow_tools.spec_proofs import Naming

SPEC = "protocol/SPEC.md"
LISTS = "protocol/ids.toml"
RELEASED = "protocol/released.json"
MESSAGES = "protocol/evergrow_protocol/messages.toml"
RELEASED_MESSAGES = "protocol/released-messages.toml"
TESTS = "tests"
CODE = ("protocol", "firmware", "host_sim", TESTS)
_LISTS = ("unproven", "retired", "reworded")


@dataclass(frozen=True)
class Lists:
    """ids.toml: {id: reason} each."""

    unproven: dict[str, str]
    retired: dict[str, str]
    reworded: dict[str, str]


@dataclass(frozen=True)
class Project:
    """What is compared. `released`: {id: {"since", "text"}}. `broken`: what a minor version may not do to messages."""

    spec: Spec
    namings: list[Naming]
    lists: Lists
    released: dict[str, dict[str, str]]
    broken: list[str]

    def proofs(self, id: str) -> list[Naming]:
        return [naming for naming in self.namings if naming.id == id and naming.test is not None]


def read(root: Path) -> Project:
    """The project at `root`. Raises SpecError."""
    spec = spec_ids.read(root / SPEC)
    return Project(spec, spec_proofs.find(root, CODE), _lists(root / LISTS), _released(root / RELEASED), _broken(root))


def problems(project: Project) -> list[str]:
    """What is wrong, one sentence each, that says where and what to do."""
    broken = [f"{MESSAGES}: {what} (EG-VER-001, {RELEASED_MESSAGES})." for what in project.broken]
    return [*_ids(project), *_proofs(project), *_history(project), *broken]


def release(root: Path, project: Project) -> int:
    """Write released.json and released-messages.toml: what holds now, of the version that SPEC.md names.

    -> how many ids are new. Raises SpecError.
    """
    version = project.spec.version
    if not version:
        raise SpecError(f"{SPEC} does not say `Protocol version 1.0`.")
    wrong = [*_ids(project), *_retired(project)]
    if wrong:
        raise SpecError(wrong[0])
    entries = dict(project.released)
    for sentence in project.spec.sentences:
        since = entries.get(sentence.id, {}).get("since", version)
        entries[sentence.id] = {"since": since, "text": sentence.digest}
    lines = [f"  {json.dumps(id)}: {json.dumps(entry)}" for id, entry in sorted(entries.items())]
    (root / RELEASED).write_text("{\n" + ",\n".join(lines) + "\n}\n" if lines else "{}\n", encoding="utf-8")
    if (root / MESSAGES).is_file():
        (root / RELEASED_MESSAGES).write_text((root / MESSAGES).read_text(encoding="utf-8"), encoding="utf-8")
    return len(entries) - len(project.released)


def _ids(project: Project) -> list[str]:
    spec, found = project.spec, []
    counts = Counter(sentence.id for sentence in spec.sentences)
    for sentence in spec.sentences:
        if counts[sentence.id] > 1:
            found.append(
                f"{SPEC}:{sentence.line}: {sentence.id} names {counts[sentence.id]} sentences; the later needs a new id."
            )
        if sentence.id in project.lists.retired:
            found.append(f"{SPEC}:{sentence.line}: {sentence.id} is retired ({LISTS}) and never used again; take a new id.")
    known = {*counts, *project.lists.retired}
    mentions = [(id, f"{SPEC}:{line}") for id, line in spec.mentions]
    mentions += [(naming.id, f"{naming.file}:{naming.line}") for naming in project.namings]
    found += [f"{where}: there is no {id} in {SPEC}." for id, where in mentions if id not in known]
    found += [
        f"{naming.file}:{naming.line}: {naming.test} proves {naming.id}, which is retired."
        for naming in project.namings
        if naming.test and naming.id in project.lists.retired
    ]
    return found


def _proofs(project: Project) -> list[str]:
    found = []
    proven = {naming.id for naming in project.namings if naming.test is not None}
    for sentence in project.spec.sentences:
        if sentence.id not in proven and sentence.id not in project.lists.unproven:
            found.append(
                f"{SPEC}:{sentence.line}: no test names {sentence.id}. Begin the docstring of the one that proves it with the id,"
                f" or list it with a reason in [unproven] of {LISTS}."
            )
    for id in project.lists.unproven:
        if id in proven:
            found.append(f"{LISTS}: {id} is unproven no more: {project.proofs(id)[0].file} proves it. Remove the line.")
        elif project.spec.find(id) is None:
            found.append(f"{LISTS}: [unproven] names {id}, which {SPEC} does not have.")
    return found


def _history(project: Project) -> list[str]:
    found = _retired(project)
    for sentence in project.spec.sentences:
        entry = project.released.get(sentence.id)
        changed = entry is not None and entry["text"] != sentence.digest
        if changed and sentence.id not in project.lists.reworded:
            found.append(
                f"{SPEC}:{sentence.line}: {sentence.id} says something else than in the release. If it means the same, say why in"
                f" [reworded] of {LISTS}; if not, retire it and give the new sentence a new id."
            )
        elif not changed and sentence.id in project.lists.reworded:
            found.append(f"{LISTS}: {sentence.id} reads as in the release; remove it from [reworded].")
    return found


def _retired(project: Project) -> list[str]:
    return [
        f"{SPEC}: {id} was released and is gone. Put it back, or list it with a reason in [retired] of {LISTS}."
        for id in project.released
        if project.spec.find(id) is None and id not in project.lists.retired
    ]


def _lists(path: Path) -> Lists:
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SpecError(f"{path} is not TOML: {error}") from None
    for name, table in tables.items():
        if name not in _LISTS:
            raise SpecError(f"{path}: [{name}] means nothing; there are {', '.join(_LISTS)}.")
        for id, reason in table.items():
            if not spec_ids.ID.fullmatch(id) or not isinstance(reason, str) or not reason.strip():
                raise SpecError(f'{path}: a line of [{name}] is EG-XYZ-nnn = "the reason", not {id} = {reason!r}')
    return Lists(*[tables.get(name, {}) for name in _LISTS])


def _broken(root: Path) -> list[str]:
    """Nothing before the first release."""
    if not (root / RELEASED_MESSAGES).is_file():
        return []
    try:
        released, now = (message_table.parse((root / name).read_text(encoding="utf-8")) for name in (RELEASED_MESSAGES, MESSAGES))
    except (OSError, ValueError, TableError) as error:
        raise SpecError(f"{MESSAGES} or {RELEASED_MESSAGES}: {error}") from None
    return spec_compat.breaks(released, now)


def _released(path: Path) -> dict[str, dict[str, str]]:
    try:
        entries: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SpecError(f"{path} is not JSON: {error}") from None
    return entries
