"""Built features on disk, and the example features of an installation."""

import tomllib
from pathlib import Path

from evergrow_tools import feature_files

ROOT = Path(__file__).parents[2]


def test_an_installation_has_every_file_of_every_example_feature() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = {
        path
        for folder, patterns in project["tool"]["setuptools"]["data-files"].items()
        for pattern in patterns
        for path in ROOT.glob(pattern)
        if Path(folder).name == path.parent.name
    }
    sources = [path for path in feature_files.examples().rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sources
    assert {path.resolve() for path in sources} <= {path.resolve() for path in shipped}
