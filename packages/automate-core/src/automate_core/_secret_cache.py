"""What backends answered, for a while: the one cache of secrets, around every backend."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from automate_core.errors import SecretBackendUnavailable, SecretError, SecretNotFoundError
from automate_core.single_flight import SingleFlight

if TYPE_CHECKING:
    from automate_core._secret_ref import SecretRef
    from automate_core.settings import SecretSettings

__all__ = ["Question", "SecretCache"]

logger = logging.getLogger("automate.secrets")


class Question(NamedTuple):
    """What a backend is asked for: the reference, where the backend keeps what it names, and whose secret it is."""

    ref: SecretRef
    path: str
    tenant: str | None


class _Missing(NamedTuple):
    """A secret that was not found; the exception itself would keep the frames that it went through."""

    message: str
    context: dict[str, Any]


@dataclass(slots=True, repr=False)
class _Answer:
    found: str | _Missing
    asked_at: float
    fresh_until: float

    def open(self) -> str:
        if isinstance(self.found, _Missing):
            raise SecretNotFoundError(self.found.message, context=self.found.context)
        return self.found


class _Asking(NamedTuple):
    """When a question was put, and after how many invalidations."""

    at: float
    invalidations: int


class SecretCache:
    """Keeps answers as long as the settings say, and lets equal questions at one time be asked once.

    Values count from the moment of the question, so that a secret that was changed is seen ``cache_seconds`` later at
    the latest. Of failures none is kept but that there is no such secret.

    Args:
        config: The settings of secrets.
        clock: Tells monotonic time in seconds.
    """

    def __init__(self, config: SecretSettings, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: OrderedDict[Question, _Answer] = OrderedDict()
        self._invalidations = 0
        self._flights = SingleFlight()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a cache of secrets is not pickled: the secrets in it would be")

    def get(self, question: Question, ask: Callable[[], str]) -> str:
        """Return an answer that is kept, or ask.

        Args:
            question: What is asked.
            ask: Asks the backend; every failure of it is a SecretError.

        Returns:
            The secret.

        Raises:
            SecretError: As ``ask`` does.
        """
        answer = self._fresh(question)
        if answer is None:
            answer = self._flights.run(question, partial(self._ask, question, ask))
        return answer.open()

    async def aget(self, question: Question, ask: Callable[[], Awaitable[str]]) -> str:
        """Like :meth:`get`, without blocking the event loop.

        Args:
            question: What is asked.
            ask: Asks the backend.

        Returns:
            The secret.

        Raises:
            SecretError: As ``ask`` does.
        """
        answer = self._fresh(question)
        if answer is None:
            answer = await self._flights.arun(question, partial(self._aask, question, ask))
        return answer.open()

    def invalidate(self, which: Callable[[Question], bool]) -> None:
        """Forget answers, also those that are about to come in.

        Args:
            which: Tells of a question whether it is meant.
        """
        with self._lock:
            self._invalidations += 1
            for question in [question for question in self._answers if which(question)]:
                del self._answers[question]
        self._flights.forget(which)

    # -- one question -----------------------------------------------------------------------------------------------

    def _ask(self, question: Question, ask: Callable[[], str]) -> _Answer:
        if (answer := self._fresh(question)) is not None:
            return answer  # it has come in since we looked
        asking = self._begin()
        try:
            value = ask()
        except SecretError as error:
            return self._failed(question, asking, error)
        return self._keep(question, asking, value, self._config.cache_seconds)

    async def _aask(self, question: Question, ask: Callable[[], Awaitable[str]]) -> _Answer:
        if (answer := self._fresh(question)) is not None:
            return answer
        asking = self._begin()
        try:
            value = await ask()
        except SecretError as error:
            return self._failed(question, asking, error)
        return self._keep(question, asking, value, self._config.cache_seconds)

    def _fresh(self, question: Question) -> _Answer | None:
        with self._lock:
            answer = self._answers.get(question)
            if answer is None or self._clock() >= answer.fresh_until:
                return None
            self._answers.move_to_end(question)
            return answer

    def _begin(self) -> _Asking:
        with self._lock:
            return _Asking(self._clock(), self._invalidations)

    def _keep(self, question: Question, asking: _Asking, found: str | _Missing, seconds: float) -> _Answer:
        answer = _Answer(found, asking.at, asking.at + seconds)
        with self._lock:
            if seconds and self._invalidations == asking.invalidations:
                self._prune()
                self._answers[question] = answer
                self._answers.move_to_end(question)
        return answer

    def _prune(self) -> None:
        """Let go of what can be of no use any more, and make room for one."""
        now, stale = self._clock(), self._config.cache_stale_seconds
        for question in [key for key, answer in self._answers.items() if now >= answer.fresh_until + stale]:
            del self._answers[question]
        while len(self._answers) >= self._config.cache_entries:
            self._answers.popitem(last=False)

    def _failed(self, question: Question, asking: _Asking, error: SecretError) -> _Answer:
        """Let an older value stand in where the backend cannot be asked; else raise, and let go of the older value."""
        if isinstance(error, SecretBackendUnavailable):
            if (answer := self._stale(question)) is None:
                raise error
            age = self._clock() - answer.asked_at
            logger.warning("A value that is %d s old is used in the place of an answer: %s", age, error)
            return answer
        with self._lock:
            self._answers.pop(question, None)
        if isinstance(error, SecretNotFoundError):
            missing = _Missing(error.message, error.context)
            self._keep(question, asking, missing, self._config.cache_missing_seconds)
        raise error

    def _stale(self, question: Question) -> _Answer | None:
        """Return a value that may still be used, and use it for a moment without asking again."""
        config, now = self._config, self._clock()
        with self._lock:
            answer = self._answers.get(question)
            if answer is None or isinstance(answer.found, _Missing):
                return None
            last = answer.asked_at + config.cache_seconds + config.cache_stale_seconds
            if not config.cache_stale_seconds or now >= last:
                return None
            answer.fresh_until = min(now + config.cache_missing_seconds, last)
            return answer
