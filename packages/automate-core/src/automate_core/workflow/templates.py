"""The template language: Jinja2's syntax, and only names, keys, items, filters, tests, comparisons and ``if … else``.

Jinja2 parses; nothing of it is ever executed. Data is plain JSON, looked up by key and position, never by attribute of
a Python object. What a value becomes in text: null is empty, booleans are lower case, lists and objects are JSON. A
path that leads nowhere is an error wherever it is used, but for ``default`` and the tests ``defined`` and
``undefined``. Every rendering has a budget of work and a largest size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes

from automate_core._references import is_cut_off, split_references
from automate_core._secret_ref import is_reference
from automate_core._secret_value import SecretValue
from automate_core.errors import TemplateError
from automate_core.payload import json_pointer
from automate_core.workflow._template_nodes import Compiler, Evaluate
from automate_core.workflow._template_work import Undefined, Work, copy, refuse_undefined, text_size, to_text

__all__ = [
    "MAX_RENDERED_BYTES",
    "MAX_TEMPLATE_CHARS",
    "Template",
    "ValueTemplate",
    "compile_template",
    "find_references",
    "find_secret_refs",
    "find_texts",
    "is_template",
    "render",
]

Path = tuple[str | int, ...]
_Resolve = Callable[[str], Any]
_Render = Callable[[dict[str, Any], Work, _Resolve | None], Any]

MAX_RENDERED_BYTES = 1024 * 1024
"""Largest rendered value, unless the caller says otherwise."""

MAX_TEMPLATE_CHARS = 32_768
"""Longest text that holds a template; text without one has no limit of its own."""

_SYNTAX = Environment(keep_trailing_newline=True, autoescape=True)
_MARK = re.compile(r"\{\{|\{%|\{#")


class Template:
    """A compiled template. Make it with :func:`compile_template`.

    Attributes:
        text: Its source.
        references: The paths that it looks up, such as ``("steps", "invoice", "output", "id")``, each as far as it is
            written out.
    """

    __slots__ = ("_parts", "_whole", "references", "text")

    def __init__(self, text: str, parts: list[str | Evaluate], references: frozenset[Path]) -> None:
        self.text = text
        self.references = references
        self._parts = parts
        self._whole = parts[0] if len(parts) == 1 and not isinstance(parts[0], str) else None

    def render(self, context: Mapping[str, Any], *, max_bytes: int = MAX_RENDERED_BYTES) -> Any:
        """Render it.

        Args:
            context: Plain JSON data by name.
            max_bytes: Largest result.

        Returns:
            Text; where the template is one whole ``{{ … }}``, a copy of the value, of whatever JSON type.

        Raises:
            TemplateError: If a path leads nowhere, a filter does not fit its value, or the result or the work is too
                large.
        """
        return self.evaluate(dict(context), Work(max_bytes))

    def evaluate(self, context: dict[str, Any], work: Work) -> Any:
        """Render it as a part of something larger.

        Args:
            context: Plain JSON data by name.
            work: What the whole may cost.

        Raises:
            TemplateError: As :meth:`render`.
        """
        if self._whole is not None:
            return copy(work, self._whole(context, work))
        pieces = []
        for part in self._parts:
            piece = part if isinstance(part, str) else _as_text(part(context, work), work)
            work.take(text_size(piece))
            pieces.append(piece)
        return "".join(pieces)

    def find_secrets(self) -> list[tuple[str | Evaluate, bool]]:
        """Return its parts, cut at the secret references that are written out in it, each with whether it is one.

        Raises:
            TemplateError: If what a template gives could become part of a reference.
        """
        found: list[tuple[str | Evaluate, bool]] = []
        for part, following in zip(self._parts, [*self._parts[1:], None], strict=True):
            if not isinstance(part, str):
                found.append((part, False))
                continue
            if following is not None and is_cut_off(part):
                raise TemplateError("A secret reference is written out whole, without a template.")
            found += split_references(part)
        return found


def _as_text(value: Any, work: Work) -> str:
    if isinstance(value, Undefined):
        refuse_undefined(value)
    return to_text(work, value)


def is_template(text: str) -> bool:
    """Return whether a text holds ``{{``, ``{%`` or ``{#``; all other text stands for itself.

    Args:
        text: The text.
    """
    return _MARK.search(text) is not None


@lru_cache(maxsize=1024)
def compile_template(text: str) -> Template:
    """Compile a template.

    Args:
        text: Its source.

    Raises:
        TemplateError: If it cannot be parsed, uses what templates do not have, or is too long.
    """
    if not is_template(text):
        return Template(text, [text], frozenset())
    if len(text) > MAX_TEMPLATE_CHARS:
        raise TemplateError(f"A template is longer than {MAX_TEMPLATE_CHARS} characters: split it.")
    compiler = Compiler()
    parts: list[str | Evaluate] = []
    for node in _parse(text).body:
        for piece in node.nodes if isinstance(node, nodes.Output) else [node]:
            parts.append(piece.data if isinstance(piece, nodes.TemplateData) else compiler.compile(piece))
    return Template(text, parts, frozenset(compiler.references))


def _parse(text: str) -> nodes.Template:
    try:
        return _SYNTAX.parse(text)
    except TemplateSyntaxError as error:
        raise TemplateError(f"The template cannot be parsed: {error.message} (line {error.lineno}).") from None
    except RecursionError:
        raise TemplateError("The template cannot be parsed: it is nested too deeply.") from None
    except ValueError as error:
        raise TemplateError(f"The template cannot be parsed: {error}.") from None


# -- whole parameters -------------------------------------------------------------------------------------------------


def render(
    value: Any,
    context: Mapping[str, Any],
    *,
    max_bytes: int = MAX_RENDERED_BYTES,
    resolve_ref: _Resolve | None = None,
) -> Any:
    """Render every template in a JSON value of the definition.

    Secret references in a text of the *definition* are kept as they are, or handed to ``resolve_ref``; a text that
    holds a secret beside other words is a secret as a whole. What comes out of a template is never looked at again, so
    no event and no output can name a secret.

    Args:
        value: The parameters of a step, or the output of a workflow; not changed. Keys are not templates.
        context: Plain JSON data by name.
        max_bytes: Largest result.
        resolve_ref: Gives the value for a reference: a :class:`~automate_core.secrets.SecretValue`.

    Returns:
        A copy, rendered.

    Raises:
        TemplateError: If a template fails; ``context["pointer"]`` says where in the value it stands.
    """
    return _compile_value(value, ())(dict(context), Work(max_bytes), resolve_ref)


class ValueTemplate:
    """A JSON value of the definition, to be rendered any number of times by any number of threads.

    Args:
        value: The parameters of a step, or the output of a workflow; it must not change.

    Attributes:
        has_secrets: Whether :func:`find_secret_refs` finds any in it.
    """

    __slots__ = ("_compiled", "_value", "has_secrets")

    def __init__(self, value: Any) -> None:
        self._value = value
        self._compiled: _Render | None = None
        self.has_secrets = bool(find_secret_refs(value))

    def render(
        self,
        context: Mapping[str, Any],
        *,
        max_bytes: int = MAX_RENDERED_BYTES,
        resolve_ref: _Resolve | None = None,
    ) -> Any:
        """Render every template in the value, as :func:`render` does.

        Args:
            context: Plain JSON data by name.
            max_bytes: Largest result.
            resolve_ref: Gives the value for a reference.

        Returns:
            A copy, rendered.

        Raises:
            TemplateError: If a template fails; ``context["pointer"]`` says where in the value it stands.
        """
        compiled = self._compiled
        if compiled is None:  # not before: many a process only starts runs
            compiled = self._compiled = _compile_value(self._value, ())
        return compiled(context if type(context) is dict else dict(context), Work(max_bytes), resolve_ref)


def _compile_value(value: Any, path: Path) -> _Render:
    if isinstance(value, dict):
        return _object([(key, _compile_value(child, (*path, key))) for key, child in value.items()])
    if isinstance(value, (list, tuple)):
        return _array([_compile_value(child, (*path, index)) for index, child in enumerate(value)])
    if isinstance(value, str) and is_template(value):
        return _text(value, json_pointer(path))
    if isinstance(value, str) and "$" in value:
        if is_reference(value):
            return _secret(value)
        if len(split_references(value)) > 1:
            return _text(value, json_pointer(path))
    return lambda context, work, resolve_ref: copy(work, value)


def _object(children: list[tuple[Any, _Render]]) -> _Render:
    def render(context: dict[str, Any], work: Work, resolve_ref: _Resolve | None) -> Any:
        work.take(2)
        return {copy(work, key): child(context, work, resolve_ref) for key, child in children}

    return render


def _array(children: list[_Render]) -> _Render:
    def render(context: dict[str, Any], work: Work, resolve_ref: _Resolve | None) -> Any:
        work.take(2)
        return [child(context, work, resolve_ref) for child in children]

    return render


def _secret(text: str) -> _Render:
    def render(context: dict[str, Any], work: Work, resolve_ref: _Resolve | None) -> Any:
        literal = copy(work, text)
        return literal if resolve_ref is None else resolve_ref(literal)

    return render


def _joined(parts: list[tuple[str | Evaluate, bool]]) -> _Render:
    def render(context: dict[str, Any], work: Work, resolve_ref: _Resolve | None) -> Any:
        joined: Any = ""
        for part, names_secret in parts:
            piece: Any = part if isinstance(part, str) else _as_text(part(context, work), work)
            if names_secret and resolve_ref is not None:
                piece = resolve_ref(piece)
            work.take(text_size(piece.reveal() if isinstance(piece, SecretValue) else piece))
            joined += piece
        return joined

    return render


def _text(text: str, pointer: str) -> _Render:
    try:
        evaluate = _compile_text(text)
    except TemplateError:
        # What is wrong is said when its turn comes: something before it may fail first.
        def evaluate(context: dict[str, Any], work: Work, resolve_ref: _Resolve | None) -> Any:
            return _compile_text(text)(context, work, resolve_ref)

    def render(context: dict[str, Any], work: Work, resolve_ref: _Resolve | None) -> Any:
        try:
            return evaluate(context, work, resolve_ref)
        except TemplateError as error:
            raise TemplateError(
                f"{pointer or '/'}: {error.message}", context={**error.context, "pointer": pointer}
            ) from None

    return render


def _compile_text(text: str) -> _Render:
    template = compile_template(text)
    if "$" in text:
        parts = template.find_secrets()
        if any(names_secret for _, names_secret in parts):
            return _joined(parts)
    return lambda context, work, resolve_ref: template.evaluate(context, work)


def find_secret_refs(value: Any) -> list[tuple[str, str]]:
    """Find the secret references that a JSON value of the definition holds.

    Args:
        value: The parameters of a step.

    Returns:
        JSON pointer of its text, and the reference, of each in order; a text that holds several comes several times.
        The pointers hold for the rendered value too.
    """
    return [(json_pointer(path), ref) for path, text in find_texts(value) if "$" in text for ref in _secrets_in(text)]


def _secrets_in(text: str) -> list[str]:
    if not is_template(text):
        return [text] if is_reference(text) else [piece for piece, is_secret in split_references(text) if is_secret]
    try:
        parts = compile_template(text).find_secrets()
    except TemplateError:
        return []  # it is never rendered
    return [part for part, is_secret in parts if is_secret and isinstance(part, str)]


def find_references(value: Any) -> list[tuple[str, Path]]:
    """Find the paths that the templates in a JSON value look up.

    Args:
        value: The parameters of a step.

    Returns:
        JSON pointer of each template, and a path; a template that looks up several comes several times.

    Raises:
        TemplateError: If a template cannot be compiled.
    """
    return [
        (json_pointer(path), reference)
        for path, text in find_texts(value)
        for reference in sorted(compile_template(text).references, key=repr)
    ]


def find_texts(value: Any, path: Path = ()) -> list[tuple[Path, str]]:
    """Find every text in a JSON value; keys are none.

    Args:
        value: The value.
        path: Where it stands.

    Returns:
        Path and text of each, in order.
    """
    if isinstance(value, str):
        return [(path, value)]
    if isinstance(value, dict):
        return [found for key, child in value.items() for found in find_texts(child, (*path, key))]
    if isinstance(value, (list, tuple)):
        return [found for index, child in enumerate(value) for found in find_texts(child, (*path, index))]
    return []
