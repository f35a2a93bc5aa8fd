"""The environment in which everything is measured: our packages as they are, and the newest release of each peer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from measuring import CACHE, ROOT, say

OURS = ("automate-core", "automate-outbox", "automate-secrets", "django-automate")
PEERS = (
    "pgqueuer[asyncpg]>=1.6,<2",
    "uvloop>=0.21",
    "procrastinate>=3.10,<4",
    "dbos>=3.4,<4",
    "django-q2>=1.11,<2",
    "django-tasks-db>=0.13,<1",
    "celery>=5.7,<6",
    "redis>=6",
    "absurd-sdk>=0.5,<1",
)
NEEDED = ("psycopg[binary,pool]>=3.2,<4",)
_VERSIONS = ("3.13", "3.12")  # the newest of these that is installed: Django's own tasks need 3.12


def prepare(folder: Path) -> Path:
    """Make the environment where it is missing or outdated.

    Args:
        folder: Where.

    Returns:
        Its interpreter.
    """
    python = folder / "bin" / "python"
    stamp = folder / "benchmarks-state"
    state = "\n".join([*NEEDED, *PEERS, *(str(ROOT / "packages" / name) for name in OURS)])
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
    ours = [argument for name in OURS for argument in ("--editable", str(ROOT / "packages" / name))]
    subprocess.run([*install, *NEEDED, *ours], check=True, env=env)
    if subprocess.run([*install, *PEERS], check=False, env=env).returncode:
        for peer in PEERS:  # one that cannot be had must not take the others with it
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


def enter(folder: Path | None) -> None:
    """Go on in the environment: this process is replaced where it runs elsewhere.

    Args:
        folder: The environment; None takes the one in the cache.
    """
    python = prepare(folder or CACHE / "bench-venv")
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        os.execv(python, [str(python), *sys.argv])
