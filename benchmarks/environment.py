"""The environments in which everything is measured: our packages as they are, and the newest release of each peer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from measuring import CACHE, ROOT, say


@dataclass(frozen=True)
class Environment:
    """What an environment holds.

    Args:
        name: Its folder in the cache.
        ours: Packages of this repository.
        peers: What they are compared with.
        needed: What the benchmark itself needs.
        apart: Peers that would overwrite others: each has a folder of its own, see :func:`folder_of`.
    """

    name: str
    ours: tuple[str, ...]
    peers: tuple[str, ...]
    needed: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()


DELIVERY = Environment(
    "bench-venv",
    ours=("automate-core", "automate-outbox", "automate-secrets", "django-automate"),
    peers=(
        "pgqueuer[asyncpg]>=1.6,<2",
        "uvloop>=0.21",
        "procrastinate>=3.10,<4",
        "dbos>=3.4,<4",
        "django-q2>=1.11,<2",
        "django-tasks-db>=0.13,<1",
        "celery>=5.7,<6",
        "redis>=6",
        "absurd-sdk>=0.5,<1",
    ),
    needed=("psycopg[binary,pool]>=3.2,<4",),
)
RULES = Environment(
    "bench-rules-venv",
    ours=("automate-core",),
    peers=("json-logic-qubit==0.9.1", "datalogic-py>=5.9,<6"),
    apart=("panzi-json-logic==1.0.1",),  # its module is json_logic too
)
REDACTION = Environment(
    "bench-redaction-venv", ours=("automate-core",), peers=("pyahocorasick>=2.3,<3", "ahocorasick-rs>=1,<2")
)
_VERSIONS = ("3.13", "3.12")  # the newest of these that is installed: Django's own tasks need 3.12


def folder_of(peer: str) -> Path:
    """Return where the modules of a peer are that is installed apart.

    Args:
        peer: Its distribution.
    """
    return Path(sys.prefix) / "apart" / peer


def prepare(folder: Path, wanted: Environment) -> Path:
    """Make an environment where it is missing or outdated.

    Args:
        folder: Where.
        wanted: What it shall hold.

    Returns:
        Its interpreter.
    """
    python = folder / "bin" / "python"
    stamp = folder / "benchmarks-state"
    state = "\n".join(
        [*wanted.needed, *wanted.peers, *wanted.apart, *(str(ROOT / "packages" / name) for name in wanted.ours)]
    )
    if stamp.exists() and stamp.read_text() == state:
        return python
    say(f"Making the environment of the benchmarks in {folder.name} …")
    env = _machine_settings()
    uv = shutil.which("uv", path=os.pathsep.join([str(ROOT / ".venv" / "bin"), env["PATH"]]))
    base = next((found for name in _VERSIONS if (found := shutil.which(f"python{name}", path=env["PATH"]))), "")
    subprocess.run([base or sys.executable, "-m", "venv", *(["--without-pip"] if uv else []), folder], check=True)
    install: list[str | Path] = [python, "-m", "pip", "install", "-q"]
    if uv:
        install = [uv, "pip", "install", "-q", "--python", python]
    ours = [argument for name in wanted.ours for argument in ("--editable", str(ROOT / "packages" / name))]
    subprocess.run([*install, *wanted.needed, *ours], check=True, env=env)
    for peer in wanted.apart:
        target = folder / "apart" / peer.partition("=")[0]
        if subprocess.run([*install, "--no-deps", "--target", target, peer], check=False, env=env).returncode:
            say(f"SKIPPED: {peer} cannot be installed")
    if subprocess.run([*install, *wanted.peers], check=False, env=env).returncode:
        for peer in wanted.peers:  # one that cannot be had must not take the others with it
            if subprocess.run([*install, peer], check=False, env=env).returncode:
                say(f"SKIPPED: {peer} cannot be installed")
    stamp.write_text(state)
    return python


def _machine_settings() -> dict[str, str]:
    """Return the environment in which interpreters and certificates of the machine are found."""
    found = sorted(Path.home().glob(".pyenv/versions/3.1[1-9]*/bin"), reverse=True)
    env = {**os.environ, "PATH": os.pathsep.join([*map(str, found), os.environ["PATH"]])}
    if Path("/etc/ssl/certs/ca-certificates.crt").exists():
        env.setdefault("UV_SYSTEM_CERTS", "true")
    return env


def enter(folder: Path | None, wanted: Environment = DELIVERY) -> None:
    """Go on in an environment: this process is replaced where it runs elsewhere.

    Args:
        folder: Where it is; None takes the one in the cache.
        wanted: What it holds.
    """
    python = prepare(folder or CACHE / wanted.name, wanted)
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        os.execv(python, [str(python), *sys.argv])
