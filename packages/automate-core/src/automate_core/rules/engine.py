"""Compiled rules, and the engine that compiles them."""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn, Protocol

from automate_core.errors import ConfigurationError, RuleLimitExceeded
from automate_core.rules.coercion import MAX_EXACT, is_number, json_number, plain, verdict
from automate_core.rules.compiler import Compiler
from automate_core.rules.explain import Explainer, Prepared
from automate_core.rules.failures import Failure, ScopedBudget
from automate_core.rules.leaves import Closure
from automate_core.rules.limits import Budget
from automate_core.rules.lone_leaves import lone_leaf
from automate_core.rules.operators import CLASSIC, Operator
from automate_core.rules.spine import Spine
from automate_core.rules.syntax import check, copy_spec

__all__ = ["DEFAULT", "CompiledRule", "Engine", "compile_rule", "evaluate", "explain"]

_BUDGET_FROM_NODES = 200
_MAX_KEY = 8_192
_MAX_KEPT = 128
_MAX_SEEN = 1_024
_MAX_RESULT_PARTS = 250_000
_MAX_RESULT_DEPTH = 500


class _Evaluate(Protocol):
    def __call__(self, context: Any) -> bool: ...


class CompiledRule:
    """A rule that is ready to be evaluated any number of times, by any number of threads.

    It is made by :func:`compile_rule` and never changes.
    """

    __slots__ = ("_made", "_prepared", "evaluate")

    evaluate: _Evaluate
    """``evaluate(context) -> bool`` tells whether the context matches; ``context`` is the JSON data, mostly a dict."""

    _made: tuple[Engine, Any, Closure]
    """The engine, its own copy of the rule, and the closure that gives the value."""

    _prepared: Prepared
    """What explains it, from its first explanation on."""

    def __init__(self, engine: Engine, spec: Any, evaluate: Any, value: Closure) -> None:
        _set_evaluate(self, evaluate)
        _set_made(self, (engine, spec, value))

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("a compiled rule never changes: compile another one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a compiled rule never changes: compile another one")

    def __repr__(self) -> str:
        _, spec, _ = self._made
        operator = next(iter(spec), "{}") if isinstance(spec, dict) else "constant"
        return f"<CompiledRule {operator}>"

    @property
    def spec(self) -> Any:
        """A copy of the rule that it was compiled from."""
        return copy_spec(self._made[1])

    def value(self, context: Any) -> Any:
        """Compute the rule's value rather than its truth.

        Args:
            context: The data.

        Returns:
            A JSON value of its own: NaN and the infinities are null.

        Raises:
            RuleLimitExceeded: If the rule does too much work or its value has more than 250,000 parts or 500 levels.
        """
        return _as_json(self._made[2](context))

    def explain(self, context: Any) -> dict[str, Any]:
        """Explain what :meth:`evaluate` gives.

        Args:
            context: The data.

        Returns:
            The tree that :func:`explain` describes.
        """
        # First of all, so that whatever evaluation refuses is refused here in the same way.
        self.evaluate(context)
        try:
            prepared = self._prepared
        except AttributeError:
            prepared = None
        if prepared is None or not prepared.is_current:
            engine, spec, _ = self._made
            prepared = engine._explainer.prepare(spec)
            _set_prepared(self, prepared)
        return prepared.explain(context)


# What is read-only for everybody is set through the slots themselves.
_set_evaluate, _set_made, _set_prepared = (
    CompiledRule.__dict__[slot].__set__ for slot in ("evaluate", "_made", "_prepared")
)


class Engine:
    """A set of operators, and what compiles and explains rules that use them. It never changes.

    Args:
        operators: The operators by name; the 35 classic ones by default. Extend them with
            :meth:`with_operators`; :func:`~automate_core.rules.engine_for` gives the engines of other dialects.

    Raises:
        ConfigurationError: If an operator is filed under another name than its own, or replaces one of JSONLogic.
    """

    __slots__ = ("_compiler", "_explainer", "_fails", "_kept", "_operators", "_seen", "_spine")

    def __init__(self, operators: Mapping[str, Operator] = CLASSIC) -> None:
        for name, operator in operators.items():
            if name != operator.name or not name:
                raise ConfigurationError(f"The operator {operator.name!r} cannot be filed under {name!r}.")
            if CLASSIC.get(name, operator) is not operator and not operator.trusted:
                raise ConfigurationError(f"The operator {name!r} of JSONLogic cannot be replaced: choose another name.")
        self._operators = dict(operators)
        self._fails = any(operator.fails for operator in operators.values())
        self._kept: dict[bytes, CompiledRule] = {}
        self._seen: dict[int, None] = {}
        self._compiler = Compiler(self._operators)
        self._spine = Spine(self._operators, self._compiler) if Spine.serves(self._operators) else None
        self._explainer = Explainer(self._operators, self._compiler)

    def __repr__(self) -> str:
        return f"<Engine of {len(self._operators)} operators>"

    @property
    def operators(self) -> Mapping[str, Operator]:
        """The operators by name, read-only."""
        return MappingProxyType(self._operators)

    def with_operators(self, *operators: Operator) -> Engine:
        """Make an engine that has more operators.

        Args:
            operators: The further operators, see :func:`~automate_core.rules.custom_operator`.

        Returns:
            The new engine; this one stays as it is.

        Raises:
            ConfigurationError: If an operator of that name exists: a rule must not change its meaning.
        """
        extended = dict(self._operators)
        for operator in operators:
            if operator.name in extended:
                raise ConfigurationError(f"There is an operator {operator.name!r} already: choose another name.")
            extended[operator.name] = operator
        return Engine(extended)

    def compile_rule(self, rule_spec: Any) -> CompiledRule:
        """Compile a rule; see :func:`compile_rule`."""
        found = None if self._spine is None else self._spine.part(rule_spec)
        if found is None:
            return self._compiled(*check(rule_spec, self._operators))
        spec, nodes, budgeted, condition, boolean = found
        if isinstance(condition, tuple):
            value = lone_leaf(*condition)
            return CompiledRule(self, spec, value, value)
        return self._ready(spec, nodes, budgeted, condition, boolean)

    def _compiled(self, spec: Any, nodes: int, budgeted: bool) -> CompiledRule:
        return self._ready(spec, nodes, budgeted, *self._compiler.compile(spec))

    def _ready(self, spec: Any, nodes: int, budgeted: bool, value: Closure, boolean: bool) -> CompiledRule:
        if self._fails:
            value = _placed(value)
            return CompiledRule(self, spec, _unbudgeted(value), value)
        if not budgeted and nodes <= _BUDGET_FROM_NODES:
            return CompiledRule(self, spec, value if boolean else _unbudgeted(value), value)
        return CompiledRule(self, spec, _budgeted_verdict(value), _budgeted(value))

    def evaluate(self, rule_spec: Any, context: Any) -> bool:
        """Evaluate a rule; see :func:`evaluate`."""
        found = self._known(rule_spec)
        return (self.compile_rule(rule_spec) if found is None else found).evaluate(context)

    def explain(self, rule_spec: Any, context: Any) -> dict[str, Any]:
        """Explain what :meth:`evaluate` gives; see :func:`explain`."""
        found = self._known(rule_spec)
        if found is not None:
            return found.explain(context)
        spec, nodes, budgeted = check(rule_spec, self._operators)
        prepared = self._explainer.prepare(spec)
        if self._fails or budgeted or nodes > _BUDGET_FROM_NODES or not prepared.is_pure:
            # First of all, so that whatever evaluation refuses is refused here in the same way.
            self._compiled(spec, nodes, budgeted).evaluate(context)
        return prepared.explain(context)

    def _known(self, rule_spec: Any) -> CompiledRule | None:
        """Find the compiled form of a rule that comes again; None for one that is new.

        A rule is known by its serialised form, so one that was changed is another one. ``marshal`` takes a tenth of
        the time that compiling does, writes nothing but plain types, and writes once what is there many times. Only
        what comes a second time is kept: keeping a rule costs as much as compiling it.
        """
        try:
            key = marshal.dumps(rule_spec)
        except ValueError:  # a subclass or an object, or nested too deep: the compiler tells what is no rule
            return None
        found = self._kept.get(key)
        if found is not None or len(key) > _MAX_KEY:
            return found
        digest = hash(key)
        if digest not in self._seen:
            _make_room(self._seen, _MAX_SEEN)
            self._seen[digest] = None
            return None
        _make_room(self._kept, _MAX_KEPT)
        # What the key says is compiled, not what another thread may have made of the rule by now.
        found = self._kept[key] = self.compile_rule(marshal.loads(key))  # noqa: S302 - we have just written it
        return found


def _make_room(kept: dict[Any, Any], most: int) -> None:
    """Forget everything rather than keep a list of what was used when: that would cost every call."""
    if len(kept) >= most:
        kept.clear()


def _unbudgeted(value: Closure) -> Closure:
    def evaluate(context: Any) -> bool:
        return verdict(value(context))

    return evaluate


def _budgeted_verdict(value: Closure) -> Closure:
    def evaluate(context: Any) -> bool:
        return verdict(value(context, Budget()))

    return evaluate


def _budgeted(value: Closure) -> Closure:
    def compute(context: Any) -> Any:
        return value(context, Budget())

    return compute


def _placed(value: Closure) -> Closure:
    """Turn the failures of a dialect that has them into errors."""

    def compute(context: Any) -> Any:
        try:
            return value(context, ScopedBudget())
        except Failure as failure:
            raise failure.error() from None

    return compute


def _as_json(value: Any) -> Any:
    """Copy a result, without recursion and no further than what can be stored."""
    holder = [value]
    stack: list[tuple[Any, int]] = [(holder, 0)]
    parts = 0
    while stack:
        copy, depth = stack.pop()
        parts += len(copy)
        if depth > _MAX_RESULT_DEPTH or parts > _MAX_RESULT_PARTS:
            raise RuleLimitExceeded(
                f"The rule gives a value of more than {_MAX_RESULT_PARTS:,} parts or {_MAX_RESULT_DEPTH} levels,"
                " or one that holds itself.",
                context={"pointer": ""},
            )
        for key, item in list(copy.items() if type(copy) is dict else enumerate(copy)):
            kind = type(item)
            if item is None or kind is str or kind is bool or (kind is int and -MAX_EXACT <= item <= MAX_EXACT):
                continue
            copy[key] = item = _copied(item)
            if type(item) is list or type(item) is dict:
                stack.append((item, depth + 1))
    return holder[0]


def _copied(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, list | dict):
        return dict(value) if isinstance(value, dict) else list(value)
    return json_number(value) if is_number(value) else value


DEFAULT = Engine()
"""The engine with the classic operators, which the functions of this package use."""


def evaluate(rule_spec: Any, context: Any) -> bool:
    """Tell whether a context matches a rule.

    Args:
        rule_spec: The rule, JSONLogic as JSON data.
        context: The data that its variables read, mostly a dict.

    Returns:
        Whether the value of the rule is truthy in the sense of JSONLogic.

    Raises:
        RuleSyntaxError: If the rule is not well formed.
        UnknownOperationError: If it uses an operator that does not exist.
        RuleLimitExceeded: If it is too large, too deep, or does too much work.
    """
    return DEFAULT.evaluate(rule_spec, context)


def compile_rule(rule_spec: Any) -> CompiledRule:
    """Compile a rule once, to evaluate it many times.

    Args:
        rule_spec: The rule, JSONLogic as JSON data. It is copied: changing it later changes nothing.

    Returns:
        The compiled rule.

    Raises:
        RuleSyntaxError: If the rule is not well formed; ``context["pointer"]`` is a JSON pointer to the place.
        UnknownOperationError: If it uses an operator that does not exist; the message names those nearby.
        RuleLimitExceeded: If it is too large or too deep.
    """
    return DEFAULT.compile_rule(rule_spec)


def explain(rule_spec: Any, context: Any) -> dict[str, Any]:
    """Tell why a context matches a rule or does not.

    Args:
        rule_spec: The rule, JSONLogic as JSON data.
        context: The data that its variables read.

    Returns:
        A tree of JSON. Each node has ``operator`` (``"constant"`` or ``"list"`` for what is no operation), ``path``
        (a JSON pointer into the rule), ``value`` (what it gave, redacted), ``result`` (whether that is truthy),
        ``children`` (its operands), ``skipped`` (true for what was not reached) and ``reason``, a sentence such as
        ``amount is 50, needs to be at least 100``. Nodes below an array operator also have ``item``, the position of
        the item they were evaluated for. A node that would lead beyond 100 levels of JSON has no children but
        ``omitted``, the number of nodes below it. The ``result`` of the whole tree is what :func:`evaluate` gives. The
        tree is redacted and may be stored as it is, where its levels may.

    Raises:
        RuleError: As :func:`evaluate`.
    """
    return DEFAULT.explain(rule_spec, context)
