"""The two documents of the specification, read as data: nothing here knows the product."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

API = Path(__file__).with_name("spec") / "python-api-reference.md"
CONFIGURATION = API.with_name("configuration-and-data-model.md")


# -- code blocks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """One block of Python.

    Args:
        section: The heading of the second level that it stands under.
        line: The line of the document that its first line is, from 1.
        source: Its text, as it stands there.
    """

    section: str
    line: int
    source: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def is_stub(self) -> bool:
        """Whether it declares functions and does nothing: executed, it would hide the real ones."""
        rest = [node for node in self.tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
        return bool(rest) and all(isinstance(node, ast.FunctionDef) and _is_empty(node) for node in rest)

    @property
    def promises(self) -> list[str]:
        """What comments say that the ``print`` beside them prints."""
        return re.findall(r"^\s*print\(.*\)  # (.+)$", self.source, re.MULTILINE)

    def unbound(self, known: Iterable[str]) -> set[str]:
        """Return the names that it uses and that neither it nor what is known binds."""
        nodes = list(ast.walk(self.tree))
        names = [node for node in nodes if isinstance(node, ast.Name)]
        bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
        bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        bound |= {node.name for node in nodes if isinstance(node, ast.ExceptHandler) and node.name}
        bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        bound |= {alias.asname or alias.name for node in nodes if isinstance(node, _IMPORTS) for alias in node.names}
        return {node.id for node in names} - bound - set(known) - set(vars(builtins))


_IMPORTS = (ast.Import, ast.ImportFrom)


def _is_empty(function: ast.FunctionDef) -> bool:
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in function.body)


def blocks() -> list[Block]:
    """Return every block of Python of the API reference, from the top down."""
    found: list[Block] = []
    section, start, lines = "", 0, API.read_text().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if start and line == "```\n":
            found.append(Block(section, start, "".join(lines[start - 1 : number - 1])))
            start = 0
        elif line == "```python\n":
            start = number + 1
        elif not start and line.startswith("## "):
            section = line[3:].strip()
    return found


def section_text(section: str) -> str:
    """Return the text of a section of the API reference."""
    return re.split(r"^## ", API.read_text().partition(f"\n## {section}\n")[2], flags=re.MULTILINE)[0]


# -- imports ----------------------------------------------------------------------------------------------------------


def import_lines() -> list[str]:
    """Return every different ``from … import …`` of both documents: in blocks, in prose and in ``**Import:**``."""
    text = API.read_text() + CONFIGURATION.read_text()
    found = re.findall(r"^(?:\*\*Import:\*\* `)?(from [\w.]+ import \w+(?:, \w+)*)`?$", text, re.MULTILINE)
    return sorted(set(found))


# -- signatures -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stub:
    """A documented signature.

    Args:
        source: ``def name(…) -> …: ...``.
        module: Where the text around it says the function is; empty where the section says it.
        document: Name of the document.
        section: The section of the API reference.
        owner: The class that it belongs to; empty for a function.
    """

    source: str
    module: str
    document: str
    section: str = ""
    owner: str = ""

    @property
    def name(self) -> str:
        return self.source.partition("(")[0].removeprefix("def ")


def stubs() -> list[Stub]:
    """Return every signature that the documents state."""
    return [*_headings(), *_declarations(), *_overrides(), *_configuration()]


def _headings() -> Iterator[Stub]:
    """``### `name(…) -> type```, below ``**Import:** `from module import …```, and maybe below ``### X Class``."""
    for section in re.findall(r"^## (.+)$", API.read_text(), re.MULTILINE):
        module, owner = "", ""
        for line in section_text(section).splitlines():
            if found := re.match(r"\*\*Import:\*\* `from ([\w.]+) import", line):
                module = found[1]
            elif found := re.match(r"### (\w+) Class$", line):
                owner = found[1]
            elif found := re.match(r"(###|####) `(\w+\(.*\).*)`$", line):
                yield Stub(f"def {found[2]}: ...", module, API.name, section, owner if found[1] == "####" else "")


def _declarations() -> Iterator[Stub]:
    for block in blocks():
        if block.is_stub:
            for node in block.tree.body:
                if isinstance(node, ast.FunctionDef):
                    yield Stub(ast.unparse(_declared(node)), "", API.name, block.section)


def _overrides() -> Iterator[Stub]:
    """The methods that a documented subclass overrides: the base class must call them in this form."""
    for block in blocks():
        for node in block.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == "MyConnector":
                (base,) = node.bases
                module = next(
                    found.module
                    for found in block.tree.body
                    if isinstance(found, ast.ImportFrom) and ast.unparse(base) in {alias.name for alias in found.names}
                )
                for method in node.body:
                    if isinstance(method, ast.FunctionDef):
                        source = ast.unparse(_declared(method))
                        yield Stub(source, module or "", API.name, block.section, ast.unparse(base))


def _configuration() -> Iterator[Stub]:
    """``def …: \"\"\"…\"\"\"`` below ``from module import …``, without fences."""
    module = ""
    for line in CONFIGURATION.read_text().splitlines():
        if found := re.match(r"from ([\w.]+) import ", line):
            module = found[1]
        elif line.startswith("def "):
            yield Stub(f"{line} ...", module, CONFIGURATION.name)


def _declared(function: ast.FunctionDef) -> ast.FunctionDef:
    """Return a function without what is in it and around it."""
    function.body, function.decorator_list = [ast.Expr(ast.Constant(...))], []
    return function


def described_parameters() -> list[tuple[str, str, str]]:
    """Return (function, parameter, what is said about it) of every list ``**Parameters:**``."""
    found = []
    for part in re.split(r"^#{3,4} ", API.read_text(), flags=re.MULTILINE)[1:]:
        if name := re.match(r"`(\w+)\(", part):
            listed = part.partition("**Parameters:**\n")[2].partition("\n\n")[0]
            found += [(name[1], *item) for item in re.findall(r"^- `\**(\w+)`: (.+)$", listed, re.MULTILINE)]
    return found


# -- tables -----------------------------------------------------------------------------------------------------------


def table(section: str, title: str) -> list[list[str]]:
    """Return the rows of the table below a title of the API reference, without its head."""
    text = section_text(section).partition(f"### {title}\n\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines()]
    return rows[2:]


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the settings.

    Args:
        name: ``"LOGGING_SCHEMA"`` or ``"EXECUTION.max_retries"``.
        type: The documented type.
        default: The documented default.
        description: What it does.
    """

    name: str
    type: str
    default: Any
    description: str

    def write(self, value: Any) -> dict[str, Any]:
        """Return what a project writes to set it."""
        section, _, key = self.name.rpartition(".")
        return {section: {key: value}} if section else {self.name: value}


def settings() -> list[Setting]:
    """Return the documented settings."""
    row = re.compile(r"^([A-Z_]+(?:\.\w+)?) (bool|int|float|str|list) (\"\w+\"|\[.*?\]|\S+) (.+)$", re.MULTILINE)
    return [Setting(n, t, ast.literal_eval(d), text) for n, t, d, text in row.findall(CONFIGURATION.read_text())]


def models() -> dict[str, dict[str, str]]:
    """Return what is said about each model of the data model: its name, then ``Fields``, ``Note`` and so on."""
    text = CONFIGURATION.read_text().partition("\n3. Data Model Reference\n")[2]
    parts = re.split(r"^(\w+)$", text, flags=re.MULTILINE)[1:]
    said = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        said[name] = dict(re.findall(r"•\s+(\w+): (.+)", body))
    return said


def fields(text: str) -> dict[str, str]:
    """Read ``id (UUID), steps (JSONB - Redacted), status.``: names, with what stands in brackets behind them."""
    return dict(re.findall(r"(\w+)(?: \(([^)]*)\))?(?:, |\.?$)", text))
