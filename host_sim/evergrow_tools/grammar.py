"""evergrow.cddl at work: another program, cddl-verifier, judges payloads by it."""

import sysconfig
from collections.abc import Callable
from pathlib import Path

import cddl_verifier

from evergrow_tools.cli import fail


def path() -> Path:
    """`protocol/evergrow.cddl` beside these sources, or where an installation has put it."""
    sources = Path(__file__).parents[2] / "protocol" / "evergrow.cddl"
    return sources if sources.is_file() else Path(sysconfig.get_path("data"), "share", "evergrow", "evergrow.cddl")


def checker(file: Path | None = None) -> Callable[[str, bytes], str]:
    """A function of a rule's name and a payload -> "", or what does not match. Ends the command for a grammar that is none."""
    file = file or path()
    try:
        validator = cddl_verifier.Validator(file)
    except OSError as error:
        fail(f"the grammar {file} cannot be read: {error.strerror}.")
    except cddl_verifier.SchemaError as error:
        fail(f"the grammar {file} is not CDDL: {error}.")

    def check(rule: str, data: bytes) -> str:
        result = validator.validate(data, root_type=rule)
        return "" if result.valid else "; ".join(f"{one.path_text}: {one.message}" for one in result.diagnostics)

    return check
