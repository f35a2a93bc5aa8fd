"""What models cost: a small table of our own, with the day on which it was read.

``LLM.prices`` comes first, so a price that changed or a model that is missing needs no new release. A model whose price
is not known is not called: its cost could not be held to the budget.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal

from automate_core import settings
from automate_core.errors import LLMError

__all__ = ["PRICES", "PRICES_AS_OF", "Price", "price_of"]

PRICES_AS_OF = date(2026, 11, 21)
"""The day on which the table was compared with what the vendors publish."""


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one model.

    A US dollar per million tokens is a micro-dollar per token, so costs are whole numbers of micro-dollars, rounded up.

    Args:
        input: USD per million input tokens.
        output: USD per million output tokens.
        long_from: Input tokens beyond which a call is charged at the long rates; 0 means never.
        long_input: USD per million input tokens of a long call.
        long_output: USD per million output tokens of a long call.
    """

    input: Decimal
    output: Decimal
    long_from: int = 0
    long_input: Decimal = Decimal(0)
    long_output: Decimal = Decimal(0)

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """Return what a call costs, in micro-dollars.

        Args:
            input_tokens: Tokens of the prompt.
            output_tokens: Tokens of the answer.
        """
        long = 0 < self.long_from < input_tokens
        per_input, per_output = (self.long_input, self.long_output) if long else (self.input, self.output)
        exact = input_tokens * per_input + output_tokens * per_output
        return int(exact.to_integral_value(rounding=ROUND_CEILING))


def _price(input: str, output: str) -> Price:
    return Price(Decimal(input), Decimal(output))


def _tiered(input: str, output: str, long_from: int, long_input: str, long_output: str) -> Price:
    return Price(Decimal(input), Decimal(output), long_from, Decimal(long_input), Decimal(long_output))


PRICES: dict[str, Price] = {
    # Anthropic
    "claude-fable-5-1": _price("10", "50"),
    "claude-fable-5": _price("10", "50"),
    "claude-opus-5-5": _price("4", "20"),
    "claude-opus-5": _price("5", "25"),
    "claude-opus-4-8": _price("5", "25"),
    "claude-opus-4-7": _price("5", "25"),
    "claude-opus-4-6": _price("5", "25"),
    "claude-opus-4-5": _price("5", "25"),
    "claude-sonnet-5-5": _price("2", "10"),
    "claude-sonnet-5": _price("2", "10"),
    "claude-sonnet-4-6": _price("3", "15"),
    "claude-sonnet-4-5": _price("3", "15"),
    "claude-haiku-5-5": _tiered("0.10", "0.50", 100_000, "0.50", "2.50"),
    "claude-haiku-4-5": _price("1", "5"),
    # OpenAI. From gpt-6 on, what a prompt writes to the cache costs a quarter more than the plain input rate; those
    # models are listed at that dearer rate, because the budget may count too much but never too little.
    "gpt-6-astra": _tiered("12.50", "50", 272_000, "25", "75"),
    "gpt-6.1-sol": _tiered("2.50", "10", 272_000, "5", "15"),
    "gpt-6-sol": _tiered("2.50", "10", 272_000, "5", "15"),
    "gpt-6-luna": _tiered("0.125", "0.50", 272_000, "0.25", "0.75"),
    "gpt-5.5": _tiered("5", "30", 272_000, "10", "45"),
    "gpt-5.4": _tiered("2.50", "15", 272_000, "5", "22.50"),
    "gpt-5.4-mini": _price("0.75", "4.50"),
    "gpt-5.4-nano": _price("0.20", "1.25"),
    "gpt-5.2": _price("1.75", "14"),
    "gpt-5.1": _price("1.25", "10"),
    "gpt-5": _price("1.25", "10"),
    "gpt-5-mini": _price("0.25", "2"),
    "gpt-5-nano": _price("0.05", "0.40"),
    "gpt-4.1": _price("2", "8"),
    "gpt-4.1-mini": _price("0.40", "1.60"),
    "gpt-4.1-nano": _price("0.10", "0.40"),
    "gpt-4o": _price("2.50", "10"),
    "gpt-4o-2024-05-13": _price("5", "15"),
    "gpt-4o-mini": _price("0.15", "0.60"),
    "gpt-4-turbo": _price("10", "30"),
    "gpt-4": _price("30", "60"),
    "gpt-4-0613": _price("30", "60"),
    "gpt-3.5-turbo": _price("0.50", "1.50"),
    "gpt-3.5-turbo-0125": _price("0.50", "1.50"),
    "o4-mini": _price("1.10", "4.40"),
    "o3": _price("2", "8"),
    "o3-mini": _price("1.10", "4.40"),
    "o1": _price("15", "60"),
}
"""USD per million tokens, by the vendors' names of the models."""

_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")


def price_of(model: str) -> Price:
    """Find the price of a model: in ``LLM.prices``, then in the table, then without the date of a snapshot.

    Args:
        model: The vendor's name, such as ``"gpt-4"`` or ``"claude-haiku-4-5-20251001"``.

    Returns:
        The price.

    Raises:
        LLMError: If it is not known; the message says what to set.
    """
    configured = settings.current().llm.prices
    for name in dict.fromkeys((model, _SNAPSHOT.sub("", model))):
        if name in configured:
            return Price(configured[name].input, configured[name].output)
        if name in PRICES:
            return PRICES[name]
    raise LLMError(
        f"The price of the model {model!r} is not known, so its cost cannot be held to the budget. Set "
        f"LLM.prices[{model!r}] = {{'input': …, 'output': …}} in USD per million tokens.",
        context={"model": model},
    )
