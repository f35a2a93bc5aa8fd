"""The operators: what each takes, and which exact function is behind it.

The compiler replaces the hot shapes by closures of their own; whatever those do not expect, and every explanation,
comes here. A function takes the budget of the evaluation (or None) and the values of the operands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from automate_core.errors import ConfigurationError, RuleEvaluationError, RuleSyntaxError
from automate_core.rules.arithmetic import add, divide, largest, modulo, multiply, smallest, subtract
from automate_core.rules.coercion import plain
from automate_core.rules.comparisons import PAIRS, contains
from automate_core.rules.failures import Failure
from automate_core.rules.limits import Budget, Where, pointer
from automate_core.rules.texts import concatenate, merge, substring

__all__ = ["CLASSIC", "Form", "OperandError", "Operator", "Shape", "custom_operator"]


class Form(StrEnum):
    """How an operator is compiled and explained."""

    EAGER = "eager"
    COMPARISON = "comparison"
    TEST = "test"
    OWN = "own"
    NEGATION = "negation"
    AND = "and"
    OR = "or"
    IF = "if"
    VAR = "var"
    MISSING = "missing"
    MISSING_SOME = "missing_some"
    LOG = "log"
    MAP = "map"
    FILTER = "filter"
    REDUCE = "reduce"
    ALL = "all"
    SOME = "some"
    NONE = "none"


class Shape(NamedTuple):
    """How an operator is compiled and explained whose form is its own; see the functions of the compiler."""

    compile: Callable[..., Any]
    explain: Callable[..., Any]


class OperandError(Exception):
    """A constant among the operands of an operator is wrong.

    Args:
        position: Which one.
        problem: What is wrong with it, as the end of a sentence.
    """

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(problem)
        self.position = position


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a rule.

    Args:
        name: As it is written in rules.
        minimum: Operands that it needs.
        maximum: Operands that it may be given; None for any number.
        used: Operands that it looks at; what a rule gives beyond is ignored, as JavaScript does. None for all.
        form: How it is compiled and explained.
        function: What computes it from the values of its operands; None where the form says it all.
        boolean: Whether its value is always true or false.
        budgeted: Whether it multiplies work or produces texts and lists.
        trusted: Whether its function takes any value without raising; what another one raises becomes a
            :class:`~automate_core.errors.RuleEvaluationError`.
        fix: Makes the function for one operation from its operands as they are written, where constants among them
            are prepared or checked; raises :class:`OperandError`. None where ``function`` serves all.
        says: How explanations name it, with the operands in braces: one phrase for a value (``the length of {0}``),
            two for a test (``starts with {1}`` where it holds, ``start with {1}`` for what it needs to do).
        fails: Whether it may raise a :class:`~automate_core.rules.failures.Failure`, in a dialect that has errors.
        spread: Whether a single operand without a list stands for all operands where it gives a list.
        listed: Whether its operands must be written as a list.
        quoted: Whether its operand is data, in which nothing is an operation.
        shape: How it is compiled and explained where its form is its own.
    """

    name: str
    minimum: int = 0
    maximum: int | None = None
    used: int | None = None
    form: Form = Form.EAGER
    function: Callable[..., Any] | None = None
    boolean: bool = False
    budgeted: bool = False
    trusted: bool = False
    fix: Callable[[list[Any]], Callable[..., Any]] | None = None
    says: tuple[str, ...] = ()
    fails: bool = False
    spread: bool = False
    listed: bool = False
    quoted: bool = False
    shape: Shape | None = None

    def exact(self, where: Where, given: list[Any], listed: bool) -> Callable[..., Any]:
        """Return the function of one operation, guarded where it is not one of ours.

        Args:
            where: The place of the operation, for errors.
            given: Its operands, checked.
            listed: Whether they are written as a list.

        Returns:
            Takes the budget and the values of the operands.

        Raises:
            RuleSyntaxError: If a constant among the operands is not one that the operator understands.
        """
        function = self.function
        if self.fix is not None:
            try:
                function = self.fix(given)
            except OperandError as error:
                raise self.refused(error, where, listed) from error
        if function is None:
            raise ConfigurationError(f"The operator {self.name!r} has neither a function nor a form of its own.")
        if not self.trusted:
            function = _guarded(self.name, function, where)
        elif self.fails:
            function = _placed(function, where)
        return _spread(function) if self.spread and not listed else function

    def refused(self, error: OperandError, where: Where, listed: bool) -> RuleSyntaxError:
        """Make the error for an operand that cannot be meant.

        Args:
            error: What is wrong with it.
            where: The place of the operation.
            listed: Whether the operands are written as a list.
        """
        at = pointer((where, self.name, error.position if listed else None))
        message = f"The operator {self.name!r} cannot use its operand at {at!r}: {error}."
        return RuleSyntaxError(message, context={"pointer": at})


def _placed(function: Callable[..., Any], where: Where) -> Callable[..., Any]:
    def call(budget: Budget | None, *values: Any) -> Any:
        try:
            return function(budget, *values)
        except Failure as failure:
            raise failure.place(where) from None

    return call


def _spread(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(budget: Budget | None, value: Any) -> Any:
        items = plain(value)
        if not isinstance(items, list):
            return function(budget, value)
        if budget is not None:
            budget.read_items(len(items))
        return function(budget, *items)

    return call


def _guarded(name: str, function: Callable[..., Any], where: Where) -> Callable[..., Any]:
    def call(budget: Budget | None, *values: Any) -> Any:
        try:
            return function(budget, *values)
        except Exception as error:
            at = pointer(where)
            raise RuleEvaluationError(
                f"The operator {name!r} failed at {at or 'the root of the rule'!r}: {type(error).__name__}: {error}",
                context={"pointer": at},
            ) from error

    return call


def custom_operator(
    name: str, function: Callable[..., Any], *, minimum: int = 1, maximum: int | None = None
) -> Operator:
    """Make an operator from a Python function, for an :class:`~automate_core.rules.Engine` of your own.

    Args:
        name: As rules will write it.
        function: Takes the values of the operands, returns a JSON value. It must be deterministic and thread-safe.
        minimum: Operands that it needs.
        maximum: Operands that it may be given; None for any number.

    Returns:
        The operator.
    """

    def call(_budget: Budget | None, *values: Any) -> Any:
        return function(*values)

    return Operator(name, minimum, maximum, function=call)


def _pair(compare: Callable[..., bool]) -> Callable[..., bool]:
    def function(budget: Budget | None, first: Any, second: Any) -> bool:
        return compare(first, second, budget)

    return function


def _between(compare: Callable[..., bool]) -> Callable[..., bool]:
    def function(budget: Budget | None, first: Any, second: Any, *third: Any) -> bool:
        return compare(first, second, budget) and (not third or compare(second, third[0], budget))

    return function


def _classic(
    name: str,
    minimum: int = 0,
    maximum: int | None = None,
    used: int | None = None,
    form: Form = Form.EAGER,
    function: Callable[..., Any] | None = None,
    boolean: bool = False,
    budgeted: bool = False,
) -> Operator:
    return Operator(name, minimum, maximum, used, form, function, boolean, budgeted, trusted=True)


def _comparison(name: str, used: int = 2) -> Operator:
    function = _pair(PAIRS[name]) if used == 2 else _between(PAIRS[name])
    return _classic(name, 2, None, used, Form.COMPARISON, function, boolean=True)


def _array(name: str, form: Form, maximum: int = 2, boolean: bool = False) -> Operator:
    return _classic(name, 2, maximum, maximum, form, boolean=boolean, budgeted=True)


CLASSIC: Mapping[str, Operator] = MappingProxyType(
    {
        operator.name: operator
        for operator in (
            _comparison("=="),
            _comparison("==="),
            _comparison("!="),
            _comparison("!=="),
            _comparison(">"),
            _comparison(">="),
            _comparison("<", used=3),
            _comparison("<=", used=3),
            _classic("in", 2, None, 2, Form.COMPARISON, contains, boolean=True),
            _classic("!", 0, None, 1, Form.NEGATION, boolean=True),
            _classic("!!", 0, None, 1, Form.NEGATION, boolean=True),
            _classic("and", form=Form.AND),
            _classic("or", form=Form.OR),
            _classic("if", form=Form.IF),
            _classic("?:", form=Form.IF),
            _classic("var", 0, 2, 2, Form.VAR),
            _classic("missing", form=Form.MISSING, budgeted=True),
            _classic("missing_some", 2, 2, 2, Form.MISSING_SOME, budgeted=True),
            _classic("log", 0, None, 1, Form.LOG),
            _classic("+", function=add),
            _classic("*", function=multiply),
            _classic("-", 1, None, 2, function=subtract),
            _classic("/", 1, None, 2, function=divide),
            _classic("%", 2, None, 2, function=modulo),
            _classic("max", function=largest),
            _classic("min", function=smallest),
            _classic("cat", function=concatenate, budgeted=True),
            _classic("substr", 2, 3, 3, function=substring, budgeted=True),
            _classic("merge", function=merge, budgeted=True),
            _array("map", Form.MAP),
            _array("filter", Form.FILTER),
            _array("reduce", Form.REDUCE, maximum=3),
            _array("all", Form.ALL, boolean=True),
            _array("some", Form.SOME, boolean=True),
            _array("none", Form.NONE, boolean=True),
        )
    }
)
"""The 35 operators of JSONLogic."""
