"""The loader and the registry, over real distributions on the path: each state, duplicates, lazy targets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pluggy
import pytest
from automate_core import Spec, hookimpl, hookspecs, plugins
from automate_core.__about__ import __version__
from automate_core.cli import main
from automate_core.connectors import ActionSpec, Connector
from automate_core.errors import (
    ConfigurationError,
    DuplicateKeyError,
    NotRegisteredError,
    PluginLoadError,
    UnknownActionError,
)
from automate_core.plugins import load_plugins, load_target
from automate_core.registry import Registry
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

GOOD = """
from automate_core import Spec, hookimpl
@hookimpl
def automate_register_connectors():
    return [Spec("{key}", "{module}_target:Thing", "A thing", "{module}[extra]")]
"""


class Site:
    """A folder on the path into which distributions are put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, code: str, *, requires: tuple[str, ...] = (), entry: str = "") -> None:
        module = name.replace("-", "_")
        (self.folder / f"{module}.py").write_text(code)
        info = self.folder / f"{module}-1.0.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {r}" for r in requires)]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(f"[automate]\n{entry or module} = {module}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith("acme"):
            del sys.modules[name]


def test_every_state_is_told_apart_and_one_failure_leaves_the_others_alone(site: Site) -> None:
    site.add("acme-good", GOOD.format(key="good", module="acme_good"), requires=("automate-core>=0.1,<0.2",))
    site.add("acme-import", "import a_module_that_is_missing")
    site.add("acme-raises", "1 / 0")
    site.add("acme-exits", "raise SystemExit('not on this machine')")
    site.add("acme-mute", "class E(Exception):\n    def __str__(self): raise ValueError\nraise E")
    site.add("acme-leaks", "raise ValueError('login as postgres://app:hunter2@db failed')")
    site.add(
        "acme-gives-up",
        "from automate_core import hookimpl\n@hookimpl\ndef automate_register_connectors(): raise SystemExit",
    )
    site.add("acme-direct", "", requires=("automate-core @ https://example.com/automate_core.whl",))
    site.add("acme-extras", "", requires=("automate-core[all]>=0.1.0rc1",))
    site.add("acme-future", "raise AssertionError('never imported')", requires=("automate_core (>=7)",))
    site.add("acme-blocked", "raise AssertionError('never imported')")
    site.add("acme-extra", GOOD.format(key="extra", module="acme_extra"), requires=('automate-core>=9; extra == "x"',))
    site.add(
        "acme-misspelt",
        "from automate_core import hookimpl\n@hookimpl\ndef automate_register_conectors(): return []",
    )
    site.add(
        "acme-newer",
        "from automate_core import hookimpl\n@hookimpl(optionalhook=True)\ndef automate_register_later(): return []",
    )
    site.add(
        "acme-hook",
        "from automate_core import hookimpl\n@hookimpl\ndef automate_register_connectors(): return [{'key': 'x'}]",
    )
    registry = Registry(blocked=["acme_blocked"])
    assert {"good", "extra"} <= set(registry.list_connectors())
    infos = {info.name: info for info in registry.plugins()}
    states = {name: info.state for name, info in infos.items() if name.startswith("acme")}
    assert states == {
        "acme_good": "loaded",
        "acme_import": "failed",
        "acme_raises": "failed",
        "acme_exits": "failed",
        "acme_mute": "failed",
        "acme_leaks": "failed",
        "acme_gives_up": "failed",
        "acme_direct": "loaded",
        "acme_extras": "loaded",
        "acme_future": "incompatible",
        "acme_blocked": "blocked",
        "acme_extra": "loaded",
        "acme_misspelt": "failed",
        "acme_newer": "loaded",
        "acme_hook": "failed",
    }
    assert "a_module_that_is_missing" in infos["acme_import"].reason
    assert "not on this machine" in infos["acme_exits"].reason
    assert "hunter2" not in infos["acme_leaks"].reason
    assert "needs automate-core>=7" in infos["acme_future"].reason
    assert "automate_register_conectors" in infos["acme_misspelt"].reason
    assert "Spec" in infos["acme_hook"].reason
    assert infos["core"].state == "loaded"


def test_a_plugin_that_asks_the_registry_while_it_is_loaded_fails_alone(site: Site) -> None:
    site.add("acme-good", GOOD.format(key="good", module="acme_good"))
    site.add("acme-asks", "import automate_core.registry as r\nr.registry.list_connectors()")
    site.add("acme-later", GOOD.format(key="later", module="acme_later"))
    code = (
        "from automate_core.registry import registry as r; found = r.list_connectors();"
        "print({i.name: i.state for i in r.plugins() if i.name.startswith('acme')}, 'good' in found, 'later' in found)"
    )
    path = os.pathsep.join([str(site.folder), *sys.path])
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "{'acme_asks': 'failed', 'acme_good': 'loaded', 'acme_later': 'loaded'} True True"
    assert "Let it register in its hooks" in ran.stderr


def test_loading_that_was_interrupted_can_be_done_again(site: Site) -> None:
    site.add("acme-a", GOOD.format(key="a", module="acme_a"))
    site.add("acme-b", "raise KeyboardInterrupt")
    registry = Registry()
    with pytest.raises(KeyboardInterrupt):
        registry.plugins()
    (site.folder / "acme_b.py").write_text("")
    assert {i.name: i.state for i in registry.plugins() if i.name in ("acme_a", "acme_b")} == {
        "acme_a": "loaded", "acme_b": "loaded"
    }  # fmt: skip


def test_a_connector_that_is_none_hides_no_action_of_the_others(site: Site) -> None:
    site.add("acme-good", GOOD.format(key="good", module="acme_good"))
    site.add("acme-exits", GOOD.format(key="exits", module="acme_exits"))
    (site.folder / "acme_good_target.py").write_text("Thing = 5")
    (site.folder / "acme_exits_target.py").write_text("raise SystemExit(3)")
    registry = Registry()
    registry.register("greeter", Greeter)
    assert "greeter.greet" in registry.list_actions()
    with pytest.raises(PluginLoadError, match="SystemExit: 3"):
        registry.get_connector("exits")
    with pytest.raises(ConfigurationError, match="not a kind of plugin"):
        registry.add("conectors", "x", Greeter)


def test_a_target_is_imported_when_it_is_first_used(site: Site) -> None:
    site.add("acme-lazy", GOOD.format(key="lazy", module="acme_lazy"))
    registry = Registry()
    assert "lazy" in registry.list_connectors()
    assert "acme_lazy_target" not in sys.modules
    with pytest.raises(PluginLoadError, match=r"pip install 'acme_lazy\[extra\]'"):
        registry.get_connector("lazy")
    (site.folder / "acme_lazy_target.py").write_text("class Thing: pass")
    assert registry.get_connector("lazy").__name__ == "Thing"
    (site.folder / "acme_broken_target.py").write_text("raise OSError('disk')")
    with pytest.raises(PluginLoadError, match="OSError: disk"):
        load_target("acme_broken_target:Thing")
    with pytest.raises(PluginLoadError, match="cannot be imported"):
        load_target("acme_lazy_target:Missing")


class One:
    @hookimpl
    def automate_register_connectors(self) -> list[Spec]:
        return [Spec("same", "one:Thing"), Spec("mine", "one:Mine")]


def test_a_duplicate_key_names_both_and_the_settings_decide(site: Site) -> None:
    for name in ("acme-first", "acme-second"):
        site.add(name, GOOD.format(key="same", module=name.replace("-", "_")))
    with pytest.raises(DuplicateKeyError, match=r"acme-(first|second) and acme-(first|second) both register"):
        Registry().specs("connectors")
    Registry().specs("embedders")  # the other kinds are not touched
    for name in ("acme-first", "acme-second"):
        chosen = Registry(prefer={"connectors.same": name}).specs("connectors")["same"]
        assert chosen.distribution == name
    site.add("acme-third", GOOD.format(key="same", module="acme_third"))
    chosen = Registry(prefer={"connectors.same": "acme-third"}).specs("connectors")["same"]
    assert chosen.distribution == "acme-third"
    left = Registry(blocked=["acme_first", "acme_third"]).specs("connectors")["same"]
    assert left.distribution == "acme-second"
    with pytest.raises(DuplicateKeyError, match="a local plugin"):
        Registry([One(), One()], load_entry_points=False).specs("connectors")


class Greeter(Connector):
    key = "greeter"

    @classmethod
    def actions(cls) -> list[ActionSpec]:
        return [ActionSpec("greet")]


def test_registering_by_hand() -> None:
    registry = Registry([One()], load_entry_points=False)
    registry.register("greeter", Greeter)
    registry.register("greeter", Greeter)
    assert registry.list_connectors() == ["greeter", "mine", "same"]
    assert registry.get_action("greeter.greet")[0] is Greeter
    assert list(registry.list_actions()) == ["greeter.greet"]  # what cannot be imported is left out
    for key in ("mine", "Greeter", ""):
        with pytest.raises((DuplicateKeyError, ConfigurationError)):
            registry.register(key, Greeter)
    with pytest.raises(NotRegisteredError, match="Did you mean 'greeter'"):
        registry.get_connector("greter")
    with pytest.raises(UnknownActionError, match="Did you mean 'greet'"):
        registry.get_action("greeter.gret")
    with pytest.raises(NotRegisteredError, match=r"connector\.action"):
        registry.get_action("greeter")
    with pytest.raises(ConfigurationError, match="Did you mean 'connectors'"):
        registry.specs("conectors")
    registry.remove("connectors", "greeter")
    assert "greeter" not in registry.list_connectors()


def test_what_a_documented_name_needs_is_said() -> None:
    registry = Registry(load_entry_points=False)
    for key in ("http", "slack", "log"):
        with pytest.raises(NotRegisteredError, match="pip install automate-connectors"):
            registry.get_connector(key)
    for key in ("llm", "rag"):
        with pytest.raises(NotRegisteredError, match=f"pip install automate-{key}"):
            registry.get_connector(key)


def test_spec_forms() -> None:
    for key, target in (("Upper", "a:b"), ("", "a:b"), ("ok", "no_colon"), ("ok", "a:"), ("1", "a:b")):
        with pytest.raises(ConfigurationError):
            Spec(key, target)


def test_every_hook_has_a_kind_and_a_docstring() -> None:
    from automate_core.specs import KINDS

    manager = pluggy.PluginManager("automate")
    manager.add_hookspecs(hookspecs)
    names = {name for name in vars(hookspecs) if name.startswith("automate_register_")}
    assert names == {f"automate_register_{kind}" for kind in KINDS}
    assert all(getattr(hookspecs, name).__doc__ for name in names)


class TestCommand:
    def test_plugins_as_json_and_text(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        site.add("acme-good", GOOD.format(key="good", module="acme_good"))
        site.add("acme-bad", "import missing_module")
        assert main(["plugins", "--json"], registry=Registry()) == 0
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert rows["acme_good"]["registers"] == ["connectors.good"]
        assert rows["acme_bad"]["state"] == "failed"
        assert main(["plugins", "--strict"], registry=Registry()) == 1
        text = capsys.readouterr().out
        assert "failed       acme_bad" in text
        assert "registers connectors.good" in text
        assert main(["plugins", "--strict"], registry=Registry(blocked=["acme_bad"])) == 0

    def test_errors_and_wrong_arguments(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("acme-first", "acme-second"):
            site.add(name, GOOD.format(key="same", module=name.replace("-", "_")))
        assert main(["plugins"], registry=Registry()) == 1
        shown = capsys.readouterr()
        assert "both register" in shown.err
        assert "loaded       acme_first" in shown.out
        for arguments, program in ((["no-such-command"], "automate"), (["plugins", "--json=x"], "automate plugins")):
            with pytest.raises(SystemExit, match="2"):
                main(arguments)
            assert f"'{program} --help' tells what there is." in capsys.readouterr().err

    def test_the_versions_are_told_core_first_and_without_importing_a_plugin(
        self, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("acme-broken", "acme-also"):
            site.add(name, "raise SystemExit('imported')")
        with pytest.raises(SystemExit, match="0"):
            main(["--version"], registry=Registry())
        first, *others = capsys.readouterr().out.splitlines()
        assert first == f"automate-core {__version__}"
        assert others == sorted(others)
        assert {"acme-also 1.0", "acme-broken 1.0"} <= set(others)
        assert not any(line.startswith("automate-core ") for line in others)
        assert "acme_broken" not in sys.modules

    def test_the_versions_are_told_at_once(self) -> None:
        program = (
            "import sys; from automate_core.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass\n"
            "print(*({'django', 'pydantic', 'automate_core.registry'} & set(sys.modules)), sep='')"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == ""

    def test_without_a_command_it_lists_them(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([], registry=Registry()) == 2
        assert "list the installed plugins" in capsys.readouterr().err.lower()

    def test_a_reader_that_has_seen_enough_is_no_error(self) -> None:
        program = "import sys; from automate_core.cli import main; sys.exit(main(['plugins']))"
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, text=True)
        finally:
            os.close(writer)
        assert (done.returncode, done.stderr) == (141, "")

    def test_a_broken_command_breaks_no_other(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        command = GOOD.replace("connectors", "commands").replace("A thing", "100 % broken")
        site.add("acme-broken", command.format(key="acme_broken", module="acme_broken"))
        assert main(["plugins"], registry=Registry()) == 0
        assert "registers commands.acme_broken" in capsys.readouterr().out
        with pytest.raises(SystemExit, match="0"):
            main(["--help"], registry=Registry())
        assert "100 % broken" in capsys.readouterr().out
        assert main(["acme-broken"], registry=Registry()) == 1
        assert "pip install 'acme_broken[extra]'" in capsys.readouterr().err


def test_loading_is_ordered_by_distribution_and_name() -> None:
    manager = pluggy.PluginManager("automate")
    manager.add_hookspecs(hookspecs)
    points = [EntryPoint(name, "json", "automate") for name in ("b", "a")]
    assert [info.name for info in load_plugins(manager, points=points, blocked={"a", "b"})] == ["a", "b"]


versions = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
clauses = st.one_of(
    st.tuples(st.sampled_from(["==", "!=", ">=", "<=", ">", "<"]), versions).map("".join),
    st.tuples(st.sampled_from(["==", "!="]), versions).map(lambda pair: "".join(pair) + ".*"),
    st.lists(st.integers(0, 3), min_size=2, max_size=3).map(lambda parts: "~=" + ".".join(map(str, parts))),
)


@given(versions, st.lists(clauses, max_size=3))
def test_version_specifiers_mean_what_packaging_says(version: str, parts: list[str]) -> None:
    specifier = ",".join(parts)
    assert plugins._satisfies(version, specifier) == SpecifierSet(specifier).contains(version)
