"""The specification's own test: what `evergrow spec check` lets through and what it does not."""

import json
from pathlib import Path

import pytest

from evergrow_tools import spec_check, spec_cli, spec_ids, spec_proofs
from evergrow_tools.spec_ids import SpecError

ROOT = Path(__file__).parents[2]
SPEC = """\
# A protocol
Protocol version 1.0.
## 1. Things
- **EG-ONE-001** A device MUST
  do this.
- **EG-ONE-002** And that (EG-ONE-001).

More text, and no sentence.
### 1.1 Smaller things
- **EG-TWO-001** The other.
"""
TEST = '''\
"""Tests of EG-TWO-001: a module proves nothing."""

def helper():
    """EG-TWO-001: nor does a helper."""

def test_one():
    """EG-ONE-001, EG-ONE-002: done."""

@pytest.mark.parametrize("n", [
    1,  # EG-TWO-001
])
async def test_two(n):
    text = "EG-NOT-001 is data"
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("protocol", "firmware", "host_sim", "tests"):
        (tmp_path / folder).mkdir()
    write(tmp_path, SPEC, TEST)
    (tmp_path / spec_check.RELEASED).write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(root: Path, spec: str | None = None, test: str | None = None, lists: str = "") -> None:
    if spec is not None:
        (root / spec_check.SPEC).write_text(spec)
    if test is not None:
        (root / "tests" / "test_it.py").write_text(test)
    (root / spec_check.LISTS).write_text(lists)


def problems(root: Path) -> list[str]:
    return spec_check.problems(spec_check.read(root))


def release(root: Path) -> int:
    return spec_check.release(root, spec_check.read(root))


def test_this_projects_specification_is_proven() -> None:
    assert problems(ROOT) == []


def test_a_sentence_is_a_bullet_with_an_id_and_its_indented_lines() -> None:
    spec = spec_ids.parse(SPEC)
    assert [(one.id, one.section, one.line) for one in spec.sentences] == [
        ("EG-ONE-001", "1", 4),
        ("EG-ONE-002", "1", 6),
        ("EG-TWO-001", "1.1", 10),
    ]
    assert spec.sentences[0].text == "A device MUST do this."
    assert spec.version == "1.0"


def test_docstrings_and_comments_of_tests_prove_and_nothing_else() -> None:
    namings = spec_proofs.in_source(TEST, "tests/test_it.py")
    assert [(one.id, one.test) for one in namings] == [
        ("EG-TWO-001", None),
        ("EG-TWO-001", None),
        ("EG-ONE-001", "test_one"),
        ("EG-ONE-002", "test_one"),
        ("EG-TWO-001", "test_two"),
    ]
    assert all(one.test is None for one in spec_proofs.in_source(TEST, "tests/helpers.py"))


def test_a_file_that_is_not_python_is_named() -> None:
    with pytest.raises(SpecError, match=r"tests/test_it\.py"):
        spec_proofs.in_source("def EG-ONE-001(", "tests/test_it.py")


def test_all_proven_is_no_problem(project: Path) -> None:
    assert problems(project) == []


def test_an_unproven_sentence_needs_a_reason(project: Path) -> None:
    write(project, SPEC + "- **EG-TWO-002** New.\n")
    assert [problem.partition(". ")[0] for problem in problems(project)] == ["protocol/SPEC.md:11: no test names EG-TWO-002"]
    write(project, lists='[unproven]\nEG-TWO-002 = "takes a laboratory"\n')
    assert problems(project) == []


def test_a_reason_that_is_not_needed_is_told(project: Path) -> None:
    write(project, lists='[unproven]\nEG-ONE-001 = "hard"\nEG-OLD-001 = "gone"\n')
    assert [problem[:43] for problem in problems(project)] == [
        "protocol/ids.toml: EG-ONE-001 is unproven n",
        "protocol/ids.toml: [unproven] names EG-OLD-",
    ]


def test_a_test_or_a_comment_that_names_what_is_not_there_is_told(project: Path) -> None:
    write(project, test=TEST + "    # EG-ONE-003\n")
    (project / "firmware" / "code.py").write_text("x = 1  # EG-ONE-004\n")
    assert problems(project) == [
        "firmware/code.py:1: there is no EG-ONE-004 in protocol/SPEC.md.",
        "tests/test_it.py:14: there is no EG-ONE-003 in protocol/SPEC.md.",
    ]


def test_an_id_twice_is_told_at_both_places(project: Path) -> None:
    write(project, SPEC + "- **EG-ONE-001** Something else.\n")
    assert [problem[:52] for problem in problems(project)] == [
        "protocol/SPEC.md:4: EG-ONE-001 names 2 sentences; th",
        "protocol/SPEC.md:11: EG-ONE-001 names 2 sentences; t",
    ]


def test_a_released_sentence_changes_only_with_a_reason(project: Path) -> None:
    assert release(project) == 3
    assert problems(project) == []
    write(project, SPEC.replace("MUST\n  do this", "MUST do\n  this"))
    assert problems(project) == [], "other line ends are the same text"
    write(project, SPEC.replace("The other", "Another"))
    assert ["EG-TWO-001 says something else" in problem for problem in problems(project)] == [True]
    write(project, lists='[reworded]\nEG-TWO-001 = "plainer"\n')
    assert problems(project) == []
    assert release(project) == 0
    assert [problem[:37] for problem in problems(project)] == ["protocol/ids.toml: EG-TWO-001 reads a"], "and then not any more"


def test_a_released_id_is_retired_and_never_used_again(project: Path) -> None:
    release(project)
    without = SPEC.replace("- **EG-TWO-001** The other.\n", "")
    write(project, without, TEST.replace("EG-TWO-001", "EG-ONE-001"))
    assert ["EG-TWO-001 was released and is gone" in problem for problem in problems(project)] == [True]
    with pytest.raises(SpecError, match="EG-TWO-001 was released"):
        release(project)
    retired = '[retired]\nEG-TWO-001 = "1.1: never was any use"\n'
    write(project, lists=retired)
    assert problems(project) == []
    assert release(project) == 0
    write(project, SPEC, lists=retired)
    assert any("EG-TWO-001 is retired" in problem for problem in problems(project))
    write(project, without, TEST, lists=retired)
    assert ["test_two proves EG-TWO-001, which is retired" in problem for problem in problems(project)] == [True]


def test_a_release_remembers_since_when(project: Path) -> None:
    release(project)
    write(project, SPEC.replace("version 1.0", "version 1.1") + "- **EG-TWO-002** New.\n")
    release(project)
    entries = json.loads((project / spec_check.RELEASED).read_text())
    assert (entries["EG-ONE-001"]["since"], entries["EG-TWO-002"]["since"]) == ("1.0", "1.1")


@pytest.mark.parametrize("lists", ["[unproven", "[other]\n", '[retired]\nEG-ONE-1 = "x"\n', '[retired]\nEG-ONE-001 = ""\n'])
def test_lists_that_mean_nothing_are_refused(project: Path, lists: str) -> None:
    write(project, lists=lists)
    with pytest.raises(SpecError, match=r"ids\.toml"):
        problems(project)


def test_the_command_prints_the_problems_and_its_exit_code_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from evergrow_tools.cli import main

    assert ended(main, "spec", "check") == 0
    assert capsys.readouterr().out == "spec: 3 sentences, 3 proven by 2 tests, 0 unproven with a reason\n"
    assert ended(main, "spec", "show", "EG-ONE-002", "--json") == 0
    assert json.loads(capsys.readouterr().out)["proofs"] == ["tests/test_it.py:7 test_one"]
    write(project, SPEC + "- **EG-TWO-002** New.\n")
    assert ended(main, "spec", "check", "--json") == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 1
    assert ended(main, "spec", "show", "EG-NOT-001") == 1
    assert "there is no EG-NOT-001" in capsys.readouterr().err
    (project / spec_check.SPEC).unlink()
    assert ended(main, "spec", "check") == 1
    assert capsys.readouterr().err.startswith("evergrow: there is no protocol/SPEC.md here")


def ended(main: object, *args: str) -> object:
    with pytest.raises(SystemExit) as exit:
        main(list(args))  # type: ignore[operator]
    return exit.value.code


def test_the_commands_tell_what_they_do() -> None:
    assert {command.name or command.callback.__name__ for command in spec_cli.app.registered_commands if command.callback} == {
        "check",
        "show",
        "release",
    }
