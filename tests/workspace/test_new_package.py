"""A package made from the template installs, registers through its entry point and passes its own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "new_package"


def run(*command: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], text=True, capture_output=True, env=os.environ | environment, cwd=cwd
    )


@pytest.mark.slow
def test_a_new_package_works_as_made(tmp_path: Path) -> None:
    made = run(sys.executable, SCRIPT, "tea-pot", "--into", tmp_path)
    assert made.returncode == 0, made.stderr
    package, site = tmp_path / "automate-tea-pot", tmp_path / "site"
    left = [path for path in package.rglob("*") if path.is_file() and "acme" in f"{path}{path.read_text()}".lower()]
    assert left == []
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()

    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", site, package)
    installed = run(sys.executable, *pip)
    assert installed.returncode == 0, installed.stderr
    tested = run(sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", package / "tests", PYTHONPATH=str(site))
    assert tested.returncode == 0, tested.stdout
    ruff = ("-m", "ruff", "check", "--config", ROOT / "pyproject.toml", "--config", "src = ['elsewhere']")
    checked = run(sys.executable, *ruff, ".", cwd=package)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", ["Tea", "tea_pot", "-tea", "../tea", "automate core", ""])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    refused = run(sys.executable, SCRIPT, f"--into={tmp_path}", "--", name)
    assert refused.returncode == 2
    assert "is not a name" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_package_is_left_alone() -> None:
    before = (ROOT / "packages" / "automate-core" / "pyproject.toml").read_bytes()
    refused = run(sys.executable, SCRIPT, "core")
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    assert (ROOT / "packages" / "automate-core" / "pyproject.toml").read_bytes() == before
