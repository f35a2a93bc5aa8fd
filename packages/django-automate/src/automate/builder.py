"""The Python form of a workflow definition.

It runs once, when a module ``automations`` is imported, and yields the same canonical definition as the JSON form.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn

from automate_core.errors import ConfigurationError
from automate_core.workflow.definition import WorkflowDefinition, parse

from automate.actions import action_name

__all__ = ["Reference", "Step", "WorkflowBuilder", "definitions", "workflow"]


class Reference:
    """A value that is known only when a workflow runs: a path into the event or into the output of a step.

    Args:
        path: The path, such as ``"event.payload"``.

    ``reference["key"]`` and ``reference[0]`` go deeper; in text, as in an f-string, it becomes a template.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __getitem__(self, key: str | int) -> Reference:
        if isinstance(key, str) and key.isidentifier():
            return Reference(f"{self._path}.{key}")
        return Reference(f"{self._path}[{key!r}]")

    def __str__(self) -> str:
        return f"{{{{ {self._path} }}}}"

    def __repr__(self) -> str:
        return f"Reference({self._path!r})"

    # Without this, iteration would fall back to __getitem__ and never end.
    __iter__ = None
    __hash__ = None  # type: ignore[assignment]  # as with every class that compares in a way of its own

    def _unknown(self, *_: object) -> NoReturn:
        raise ConfigurationError(
            f"{self._path} has no value before the workflow runs, so Python cannot compare it. Give the step a rule: "
            f"when={{'==': [{{'var': '{self._path}'}}, …]}}."
        )

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __contains__ = __len__ = _unknown


class Step:
    """A step of a workflow being built.

    Args:
        id: Its id.
    """

    def __init__(self, id: str) -> None:
        self.id = id

    @property
    def output(self) -> Reference:
        """What it will return."""
        return Reference(f"steps.{self.id}.output")


class WorkflowBuilder:
    """Collects the steps of one workflow; made by :func:`workflow`.

    Args:
        definition: The slug and the trigger, in the workflow format.
        origin: Where it is written, for error messages.
        name: The workflow's name for people.
        shadow: Whether it is published as the workflow's shadow, which never runs.
    """

    def __init__(self, definition: dict[str, Any], origin: str, name: str = "", *, shadow: bool = False) -> None:
        self._definition = definition
        self.name, self.shadow = name, shadow
        self._steps: list[dict[str, Any]] = []
        self._output: Any = None
        self.origin = origin

    @property
    def event(self) -> Reference:
        """The payload of the event."""
        return Reference("event.payload")

    def step(
        self,
        id: str,
        action: str | Callable[..., Any],
        params: Mapping[str, Any] | None = None,
        *,
        needs: Sequence[str | Step] | None = None,
        when: Mapping[str, Any] | None = None,
        retry: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        on_error: str | None = None,
        **more: Any,
    ) -> Step:
        """Add a step.

        Args:
            id: Its id within the workflow.
            action: The action's name, or a function decorated with ``@action``.
            params: Parameters of the action; for names that this method uses itself, such as ``timeout``.
            needs: The steps that must have ended before; left out, the step added before this one; empty, none.
            when: JSONLogic; the step is skipped where it is false.
            retry: ``{"max_attempts": 5, "initial": 1, "factor": 2, "max": 300, "jitter": True}`` or a part of it; the
                rest comes from the workflow.
            timeout: Seconds that one attempt may take.
            on_error: ``"fail"`` or ``"continue"``.
            **more: Parameters of the action.

        Returns:
            The step, for its ``output``.
        """
        entry: dict[str, Any] = {"id": id, "action": action_name(action)}
        merged = {**(params or {}), **more}
        optional = {
            "params": _plain(merged) if merged else None,
            "needs": None if needs is None else [need.id if isinstance(need, Step) else need for need in needs],
            "if": _rule(when, f"'when' of step {id!r}"),
            "retry": _plain(retry),
            "timeout": timeout,
            "on_error": on_error,
        }
        entry.update({key: value for key, value in optional.items() if value is not None})
        self._steps.append(entry)
        return Step(id)

    def returns(self, **output: Any) -> None:
        """Set the output of the workflow.

        Args:
            **output: Values and references, by name.
        """
        self._output = _plain(output)

    def definition(self) -> WorkflowDefinition:
        """Return the definition as it stands.

        Raises:
            InvalidDefinitionError: If it is not of the workflow format.
        """
        data = {**self._definition, "steps": self._steps}
        if self._output is not None:
            data["output"] = self._output
        return parse(data)

    def __enter__(self) -> WorkflowBuilder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            definitions.add(self)


class Definitions:
    """The workflows that this process's ``automations`` modules define, by slug."""

    def __init__(self) -> None:
        self._builders: dict[str, WorkflowBuilder] = {}

    def add(self, builder: WorkflowBuilder) -> None:
        """Remember a finished workflow.

        Args:
            builder: Its builder.

        Raises:
            ConfigurationError: If another place defines one with this slug.
        """
        slug = str(builder._definition["slug"])
        known = self._builders.get(slug)
        if known is not None and known.origin != builder.origin:
            raise ConfigurationError(
                f"Workflow {slug!r} is defined twice: in {known.origin} and in {builder.origin}. Rename one."
            )
        self._builders[slug] = builder

    def all(self) -> list[WorkflowBuilder]:
        """Return the builders, by slug."""
        return [builder for _, builder in sorted(self._builders.items())]

    def clear(self) -> None:
        """Forget all of them."""
        self._builders.clear()


definitions = Definitions()
"""What the ``automations`` modules of the installed apps define."""


def workflow(
    slug: str,
    *,
    on: str | None = None,
    when: Mapping[str, Any] | None = None,
    concurrency: Mapping[str, Any] | None = None,
    retry: Mapping[str, Any] | None = None,
    name: str = "",
    shadow: bool = False,
) -> WorkflowBuilder:
    """Begin a workflow; use it as a context manager.

    Args:
        slug: Its name for machines: lower case letters, digits and dashes.
        on: The event type, or a pattern such as ``"order.*"``, that triggers it; None for one that only
            ``run_workflow`` starts.
        when: JSONLogic over the event's payload that must hold.
        concurrency: What happens with runs that share a key, and how fast they may begin, such as
            ``{"key": "{{ event.payload.customer }}", "mode": "queue"}``.
        retry: How its steps are retried where they do not say so themselves, such as ``{"max_attempts": 5}``; the rest
            comes from the settings of ``EXECUTION``.
        name: Its name for people.
        shadow: Whether it is asked about events and never run, while the version that is live goes on; see
            :func:`automate.publish.publish`.

    Returns:
        The builder; when the block ends without an error, the workflow is what ``automate_sync`` publishes.
    """
    trigger: dict[str, Any] = {"type": "manual"} if on is None else {"type": "event", "event": on}
    if when is not None:
        trigger["rule"] = _rule(when, f"'when' of workflow {slug!r}")
    definition: dict[str, Any] = {"slug": slug, "trigger": trigger}
    if concurrency is not None:
        definition["concurrency"] = _plain(concurrency)
    if retry is not None:
        definition["retry"] = _plain(retry)
    caller = sys._getframe(1)  # inspect.stack() would read the sources of all modules that led here
    origin = f"{caller.f_globals.get('__name__', '?')}:{caller.f_lineno}"
    return WorkflowBuilder(definition, origin, name, shadow=shadow)


def _rule(value: Any, where: str) -> Any:
    """Refuse references in a rule: as a template's text they would be compared letter by letter."""
    if isinstance(value, Reference):
        raise ConfigurationError(f"The {where} holds {value!r}: a rule is JSONLogic, write {{'var': 'path.to.value'}}.")
    if isinstance(value, Mapping):
        return {key: _rule(item, where) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rule(item, where) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
