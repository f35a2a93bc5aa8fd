"""Every snippet of the documentation is executed, in the order of its page and in one namespace for the page.

- A block of Python is executed. Where every ``print`` has a comment behind it, the comments are what it must print.
- A block of Python that begins with the comment ``# folder/file.py`` is written to that file of the project.
- A block of JSON is JSON; one with steps is a workflow definition.
- ``$ python manage.py …`` and ``$ automate …`` in a console block are run in the project.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import pytest
from automate_core.workflow import parse
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts),
    *sorted((ROOT / "packages").glob("[!_]*/README.md")),
]
FILE = re.compile(r"# ([\w/]+\.py)\n")
PRINTED = re.compile(r"^\s*print\(.*\)  # (.*)$")


class Python(PythonEvaluator):
    """Executes a block, or writes it to the file that its first line names."""

    def __call__(self, example: Example) -> None:
        source = str(example.parsed)
        if file := FILE.match(source):
            path = Path(file[1])
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)
            return
        printed = io.StringIO()
        with redirect_stdout(printed):
            super().__call__(example)
        prints = [line for line in source.splitlines() if line.lstrip().startswith("print(")]
        promised = [match[1] for line in prints if (match := PRINTED.match(line))]
        if promised and len(promised) == len(prints):
            assert printed.getvalue().splitlines() == promised


def console(example: Example) -> None:
    for line in str(example.parsed).splitlines():
        command = shlex.split(line.removeprefix("$ "), comments=True)
        if line.startswith("$ python manage.py"):
            run(sys.executable, *command[1:])
        elif line.startswith("$ automate "):
            run(str(Path(sys.executable).with_name("automate")), *command[1:])


def definition(example: Example) -> None:
    data = json.loads(example.parsed)
    if "steps" in data:
        parse(data)


def run(*command: str) -> None:
    done = subprocess.run(command, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"


SYBIL = Sybil(
    [CodeBlockParser("python", Python()), CodeBlockParser("console", console), CodeBlockParser("json", definition)]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_snippets_of_a_page_work(page: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("snippets")  # what a snippet defines has a module to be found in, as it would have in a file
    monkeypatch.setitem(sys.modules, module.__name__, module)
    document = SYBIL.parse(page)
    document.namespace = vars(module)
    for example in document.examples():
        example.evaluate()


def test_python_is_found_in_the_pages() -> None:
    assert [page for page in PAGES[:2] if not page.exists()] == []
    assert sum(len(list(SYBIL.parse(page).examples())) for page in PAGES) > 20
