"""Print the lowest versions that pyproject.toml allows, as requirements for pip: `make lowest`.

A package that several extras need gets the highest of their lower bounds. torch and the test tools
get the versions in constraints.txt: few machines have an index with CPU builds of every torch. Give
another version of torch as the argument.
"""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
NOT_FOR_USERS = {"dev", "docs"}
PINNED = ("torch", "pytest", "pytest-xdist", "hypothesis", "onnxscript", "nbclient", "ipykernel")


def read_lower_bounds() -> dict[str, Version]:
    """Read the lower bound of each requirement, or the highest one if there are several."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    stated = [*project["dependencies"]]
    stated += [line for name in extras if name not in NOT_FOR_USERS for line in extras[name]]
    bounds: dict[str, Version] = {}
    for requirement in map(Requirement, stated):
        if requirement.name not in ("dropkit", *PINNED):
            (bound,) = (Version(s.version) for s in requirement.specifier if s.operator == ">=")
            bounds[requirement.name] = max(bound, bounds.get(requirement.name, bound))
    return bounds


def read_pinned() -> Iterator[tuple[str, str]]:
    """Read the versions of torch and the test tools from constraints.txt."""
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        if name in PINNED:
            yield name, version


if __name__ == "__main__":
    versions = dict(read_pinned()) | {n: str(v) for n, v in read_lower_bounds().items()}
    if len(sys.argv) > 1:
        versions["torch"] = sys.argv[1]
    for name, version in versions.items():
        print(f"{name}=={version}")
