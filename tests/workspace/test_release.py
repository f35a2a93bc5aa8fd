"""What a release of any package relies on: versions, changelogs, fragments and licences agree."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = sorted(path.parent for path in (ROOT / "packages").glob("*/pyproject.toml") if path.parent.name[0] != "_")
HEADER = re.compile(r"## (?P<version>\d+\.\d+\.\d+((a|b|rc)\d+)?) \((?P<date>\d{4}-\d{2}-\d{2})\)")

each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)


def version_of(package: Path) -> Version:
    project = tomllib.loads((package / "pyproject.toml").read_text())
    about = (package / project["tool"]["hatch"]["version"]["path"]).read_text()
    found = re.search(r'^__version__ = "(.+)"$', about, re.MULTILINE)
    assert found, "__about__.py holds no version"
    return Version(found[1])


def requirements_of(package: Path) -> list[Requirement]:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    extras = [requirement for group in project.get("optional-dependencies", {}).values() for requirement in group]
    return [Requirement(text) for text in [*project["dependencies"], *extras]]


@each_package
def test_the_changelog_begins_with_the_version(package: Path) -> None:
    text = (package / "CHANGELOG.md").read_text()
    start = WORKSPACE["tool"]["towncrier"]["start_string"]
    assert text.startswith(f"# Changelog of {package.name}\n")
    assert text.count(start) == 1
    headers = [line for line in text.partition(start)[2].splitlines() if line.startswith("## ")]
    releases = [HEADER.fullmatch(line) for line in headers]
    assert all(releases), f"a header is not '## X.Y.Z (YYYY-MM-DD)': {headers}"
    versions = [Version(release["version"]) for release in releases if release]
    dates = [release["date"] for release in releases if release]
    assert versions[0] == version_of(package)
    assert all(newer > older for newer, older in pairwise(versions))
    assert dates == sorted(dates, reverse=True)


@each_package
def test_fragments_are_named_so_that_towncrier_finds_them(package: Path) -> None:
    kinds = "|".join(kind["directory"] for kind in WORKSPACE["tool"]["towncrier"]["type"])
    well_named = re.compile(rf"(\d+|\+[\w-]+)\.({kinds})(\.\d+)?\.md")
    fragments = [path for path in (package / "changelog.d").iterdir() if path.name != ".gitkeep"]
    assert [path.name for path in fragments if not well_named.fullmatch(path.name)] == []
    assert [path.name for path in fragments if not path.read_text().strip()] == []


@each_package
def test_the_licence_is_the_workspace_s(package: Path) -> None:
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@each_package
def test_siblings_are_required_by_a_range_that_holds_their_version(package: Path) -> None:
    versions = {sibling.name: version_of(sibling) for sibling in PACKAGES}
    for requirement in requirements_of(package):
        if requirement.name in versions and requirement.name != package.name:
            operators = sorted(clause.operator for clause in requirement.specifier)
            assert operators == ["<", ">="], f"{requirement} is no range"
            assert requirement.specifier.contains(versions[requirement.name]), str(requirement)


@each_package
def test_the_gate_knows_the_package(package: Path) -> None:
    module = next(path.parent.name for path in package.glob("src/*/__about__.py"))
    gate = "".join((ROOT / "noxfile.py").read_text().split())  # an entry may take several lines
    assert f'"{package.name}":Suite("{module}"' in gate
    assert f"    {module}\n" in (ROOT / ".importlinter").read_text()
