"""The one model of every setting. Django projects write it as ``DJANGO_AUTOMATE``; ``automate.conf`` reads that.

Code asks :func:`current`. Without Django, :func:`configure` sets it for the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from automate_core._backend_settings import AwsSettings, VaultSettings
from automate_core._policy_settings import Money, PolicySettings, TenantPolicySettings
from automate_core._secret_access import SecretRule
from automate_core._secret_ref import is_reference
from automate_core._secret_settings import AuditSettings, SecretSettings
from automate_core._section import Section as _Section
from automate_core.errors import ConfigurationError, SSRFBlocked, nearby
from automate_core.redaction import remember

__all__ = [
    "ArtifactSettings",
    "AuditSettings",
    "AwsSettings",
    "DecisionSettings",
    "EventSettings",
    "ExecutionSettings",
    "LLMSettings",
    "OutboxSettings",
    "PluginSettings",
    "PolicySettings",
    "ProviderSettings",
    "RagSettings",
    "RetentionSettings",
    "RulesSettings",
    "SecretRule",
    "SecretSettings",
    "Settings",
    "TenantPolicySettings",
    "VaultSettings",
    "WorkerSettings",
    "configure",
    "current",
    "parse",
]


class ExecutionSettings(_Section):
    """How steps are executed."""

    timeout_seconds: int = Field(60, gt=0, description="Longest duration of one attempt of a step.")
    max_retries: int = Field(3, ge=0, description="Retries after the first attempt of a step, for transient failures.")
    batch_size: int = Field(10, gt=0, description="Items that a worker claims at once to begin with.")
    retry_initial_seconds: float = Field(1.0, gt=0, description="Wait before the first retry.")
    retry_factor: float = Field(2.0, ge=1, description="Growth of the wait from one retry to the next.")
    retry_max_seconds: float = Field(300.0, gt=0, description="Longest wait between retries.")
    retry_jitter: bool = Field(True, description="Spread the waits at random, so that retries do not come in step.")
    max_output_bytes: int = Field(
        10_485_760, gt=0, description="Largest input and output of a step, and output of a run, as JSON."
    )
    inline_bytes: int = Field(
        262_144, gt=0, description="Largest value that is kept in its row, as JSON; a larger one becomes an artifact."
    )


class OutboxSettings(_Section):
    """The outbox and its leases."""

    lease_seconds: float = Field(30.0, ge=1, description="How long a claim holds without being renewed.")
    max_batch_size: int = Field(400, gt=0, description="Upper bound of items claimed at once.")
    max_crashes: int = Field(3, gt=0, description="Crashes of workers over one item before it is FAILED.")
    reaper_interval_seconds: float = Field(10.0, gt=0, description="Time between two looks for expired leases.")
    metrics_cache_seconds: float = Field(
        10.0, ge=0, description="How long a process keeps the gauges of the outbox that it has read; 0 keeps none."
    )
    notify: bool = Field(
        True, description="Wake sleeping workers with NOTIFY when a job is written that is due (PostgreSQL)."
    )
    listen_using: str = Field(
        "", description="Alias of DATABASES on which PostgreSQL's notifications are heard; empty is that of the outbox."
    )


class WorkerSettings(_Section):
    """The worker process."""

    concurrency: int = Field(
        10, gt=0, description="Steps and items that go on at once in one worker, asynchronous ones too."
    )
    poll_seconds: float = Field(1.0, gt=0, description="Time between two looks at an empty outbox.")
    grace_seconds: float = Field(30.0, ge=0, description="Time to finish what is running after SIGTERM.")
    silence_seconds: float = Field(
        30.0, ge=2, description="Time without a sign of life after which a worker process is replaced."
    )


class EventSettings(_Section):
    """Events."""

    max_payload_bytes: int = Field(10_485_760, gt=0, description="Largest payload that is accepted, as JSON.")
    max_causation_depth: int = Field(
        10, gt=0, description="Longest chain of events and runs that cause each other; breaks loops."
    )
    enforce_schemas: bool = Field(
        False, description="Refuse to emit an event whose payload does not fit the schema declared for its type."
    )
    dedupe_window_days: int = Field(30, gt=0, description="How long a dedupe key is remembered.")
    partition: bool = Field(
        False, description="Let 'automate partition events' keep events in a partition per month; PostgreSQL alone."
    )


class RulesSettings(_Section):
    """The rules of triggers and conditions. A change here changes what published rules mean."""

    dialect: Literal["classic", "community"] = Field(
        "classic", description="Semantics of rules: those of json-logic-js, or those of the community's compat-tables."
    )
    extensions: tuple[str, ...] = Field(
        (), description='Groups of further operators: "dates", "ranges", "regex", "text".'
    )

    @field_validator("extensions")
    @classmethod
    def _extensions_exist(cls, extensions: tuple[str, ...]) -> tuple[str, ...]:
        from automate_core.rules.extensions import find_extension

        try:
            for name in extensions:
                find_extension(name)
        except ConfigurationError as error:
            raise ValueError(error.message) from None
        return extensions


class DecisionSettings(_Section):
    """Which decisions are stored. Matches and rules that could not be evaluated always are."""

    non_matches: Literal["all", "sampled", "none"] = Field(
        "all", description="Which decisions that did not match are stored; sampled: those of some events."
    )
    sample_rate: float = Field(
        0.01, ge=0, le=1, description="Share of the events whose decisions are all stored with non_matches 'sampled'."
    )


class RetentionSettings(_Section):
    """How long history is kept. What is live, or referred to by what stays, stays longer; audit rows always stay."""

    enabled: bool = Field(True, description="Whether workers prune; 'automate retention' does so by hand either way.")
    completed_jobs_hours: float = Field(24, gt=0, description="Age at which completed outbox items go.")
    dead_letters_days: float = Field(90, gt=0, description="Age at which dead letters go.")
    runs_days: float = Field(30, gt=0, description="Age at which executions that succeeded go, with runs and steps.")
    failed_runs_days: float = Field(90, gt=0, description="The same for executions that failed or were cancelled.")
    non_matches_days: float = Field(30, gt=0, description="Age at which decisions that did not match go.")
    events_days: float = Field(90, gt=0, description="Age at which events go, with their decisions.")
    batch_size: int = Field(
        1000, gt=0, le=10_000, description="Rows of one table that one transaction deletes at the most."
    )
    pause_seconds: float = Field(0.05, ge=0, description="Pause after each transaction.")
    interval_seconds: float = Field(60.0, gt=0, description="Time between two looks of the workers.")


class ArtifactSettings(_Section):
    """Where large values are kept. ``STORAGES["automate"]`` of Django, where it is defined, takes their place."""

    location: str = Field("", description="Private directory of artifacts; empty means automate_artifacts in BASE_DIR.")
    grace_hours: float = Field(24.0, ge=0, description="Age below which an artifact that nothing uses is left alone.")


class ProviderSettings(_Section):
    """One LLM provider."""

    model: str = Field("", description="The model when a call names none.")
    api_key: str = Field("", description="A secret reference, such as $secret:OPENAI_API_KEY; never the key itself.")
    base_url: str = Field(
        "", description="Another address than the vendor's. Its host may be on this machine or have a private address; "
        "POLICY.egress_deny and egress_only hold for it."
    )  # fmt: skip

    @field_validator("base_url")
    @classmethod
    def _base_url_is_a_url(cls, text: str) -> str:
        from automate_core.egress.targets import parse_url

        try:
            if text:
                parse_url(text)
        except SSRFBlocked as error:
            raise ValueError(error.message) from None
        return text

    @model_validator(mode="after")
    def _key_is_a_reference(self) -> ProviderSettings:
        if self.api_key and not is_reference(self.api_key):
            remember(self.api_key)
            raise ValueError("api_key takes a secret reference such as $secret:OPENAI_API_KEY, not the key itself")
        return self


class PriceSettings(_Section):
    """The price of one model, in USD per million tokens."""

    input: Money = Field(ge=0, description="Price of what is sent, in USD per million tokens.")
    output: Money = Field(ge=0, description="Price of what is answered, in USD per million tokens.")


class LLMSettings(_Section):
    """The LLM gateway."""

    provider: str = Field("openai", description="The provider when a call names none.")
    providers: dict[str, ProviderSettings] = Field(default_factory=dict, description="Settings of each provider.")
    prices: dict[str, PriceSettings] = Field(
        default_factory=dict, description="Prices by model, in USD per million tokens, over the built-in table."
    )
    max_output_tokens: int = Field(1024, gt=0, description="Output tokens reserved for when a call names none.")
    timeout_seconds: float = Field(60.0, gt=0, description="Longest duration of one call.")
    redact_prompts: bool = Field(True, description="Remove secrets from what is sent to providers.")


class RagSettings(_Section):
    """Retrieval."""

    store: str = Field("embedded", description="The document store.")
    embedder: str = Field("", description="The embedder; empty means keyword search alone.")
    path: str = Field("", description="File of the embedded store where Django is not used; empty is in memory.")


class PluginSettings(_Section):
    """Which plugins are used."""

    blocked: tuple[str, ...] = Field((), description="Entry-point names that are never loaded.")
    prefer: dict[str, str] = Field(
        default_factory=dict, description='Who wins where two register one key: {"connectors.slack": "distribution"}.'
    )


class Settings(_Section):
    """Every setting of ``DJANGO_AUTOMATE``."""

    enabled: bool = Field(
        True,
        alias="ENABLED",
        description="While False, events are kept and nothing runs; 'automate policy pause' stops what runs already.",
    )
    worker_mode: Literal["thread", "process", "synchronous"] = Field(
        "thread", alias="WORKER_MODE", description="How a worker runs items: threads, child processes, or one by one."
    )
    logging_schema: Literal["ecs", "simple"] = Field(
        "ecs", alias="LOGGING_SCHEMA", description="Format of the worker's log lines: Elastic Common Schema or text."
    )
    metrics_export: bool = Field(False, alias="METRICS_EXPORT", description="Serve Prometheus metrics.")
    redact_keys: tuple[str, ...] = Field((), alias="REDACT_KEYS", description="Further key names to redact.")
    tenants_of_user: str = Field(
        "",
        alias="TENANTS_OF_USER",
        description="Dotted path of a function that returns the tenants whose rows a user may see, or None for all; "
        "empty: whoever may see a page sees all of it.",
    )
    execution: ExecutionSettings = Field(default_factory=ExecutionSettings, alias="EXECUTION")
    outbox: OutboxSettings = Field(default_factory=OutboxSettings, alias="OUTBOX")
    worker: WorkerSettings = Field(default_factory=WorkerSettings, alias="WORKER")
    events: EventSettings = Field(default_factory=EventSettings, alias="EVENTS")
    rules: RulesSettings = Field(default_factory=RulesSettings, alias="RULES")
    decisions: DecisionSettings = Field(default_factory=DecisionSettings, alias="DECISIONS")
    retention: RetentionSettings = Field(default_factory=RetentionSettings, alias="RETENTION")
    artifacts: ArtifactSettings = Field(default_factory=ArtifactSettings, alias="ARTIFACTS")
    policy: PolicySettings = Field(default_factory=PolicySettings, alias="POLICY")
    secrets: SecretSettings = Field(default_factory=SecretSettings, alias="SECRETS")
    audit: AuditSettings = Field(default_factory=AuditSettings, alias="AUDIT")
    llm: LLMSettings = Field(default_factory=LLMSettings, alias="LLM")
    rag: RagSettings = Field(default_factory=RagSettings, alias="RAG")
    plugins: PluginSettings = Field(default_factory=PluginSettings, alias="PLUGINS")

    @property
    def item_attempts(self) -> int:
        """Attempts of the outbox item of an event or a run: retries as of a step, and all crashes that it may see.

        A claim that ends with a dead worker is an attempt too, so with fewer it would die before ``max_crashes``.
        """
        return max(self.execution.max_retries + 1, self.outbox.max_crashes)

    @field_validator("redact_keys")
    @classmethod
    def _keys_are_names(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            if not any(map(str.isalnum, key)):
                raise ValueError(f"{key!r} names no key: it has neither a letter nor a digit")
        return keys

    @model_validator(mode="after")
    def _not_contradictory(self) -> Settings:
        if self.execution.retry_initial_seconds > self.execution.retry_max_seconds:
            raise ValueError("EXECUTION.retry_initial_seconds is more than EXECUTION.retry_max_seconds")
        if self.execution.batch_size > self.outbox.max_batch_size:
            raise ValueError("EXECUTION.batch_size is more than OUTBOX.max_batch_size")
        if "sample_rate" in self.decisions.model_fields_set and self.decisions.non_matches != "sampled":
            raise ValueError(
                "DECISIONS.sample_rate is set, but DECISIONS.non_matches is "
                f"{self.decisions.non_matches!r}: it counts with 'sampled' alone"
            )
        if self.secrets.active_key and self.secrets.active_key not in self.secrets.keys:
            raise ValueError("SECRETS.active_key names a key that SECRETS.keys does not hold")
        if self.audit.active_key and self.audit.active_key not in self.audit.keys:
            raise ValueError("AUDIT.active_key names a key that AUDIT.keys does not hold")
        return self


def parse(raw: Mapping[str, Any]) -> Settings:
    """Read settings from a plain mapping, in the form of ``DJANGO_AUTOMATE``.

    Args:
        raw: Upper-case top-level names; sections are mappings of lower-case names.

    Returns:
        The settings, with the default of everything that was left out.

    Raises:
        ConfigurationError: If a name is unknown, a value is wrong, or two values contradict each other; the message
            has a line for each problem.
    """
    if not isinstance(raw, Mapping):
        raise ConfigurationError(f"DJANGO_AUTOMATE must be a mapping of names to values, not {type(raw).__name__}.")
    try:
        return Settings.model_validate(dict(raw))
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors(include_url=False, include_input=False)]
        raise ConfigurationError("\n".join(lines), context={"problems": lines}) from None


def _explain(problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    name = ".".join(path)
    if problem["type"] != "extra_forbidden":
        return f"{name or 'settings'}: {problem['msg'].removeprefix('Value error, ')}"
    if len(path) == 1 and "." in path[0]:
        section, _, key = path[0].partition(".")
        return f"{name}: unknown setting. Write it nested: {{{section!r}: {{{key!r}: …}}}}."
    model: Any = Settings
    for part in path[:-1]:
        fields = getattr(model, "model_fields", None)
        if fields is None:  # the name or the number of one of several sections
            model = next(kind for kind in get_args(model) if hasattr(kind, "model_fields"))
        else:
            model = next((f.annotation for n, f in fields.items() if part in (n, f.alias)), model)
    known = [field.alias or key for key, field in getattr(model, "model_fields", {}).items()]
    return f"{name}: unknown setting.{nearby(path[-1], known)}"


_provider: Callable[[], Settings] | None = None
_defaults = None


def current() -> Settings:
    """Return the settings in force."""
    global _defaults
    if _provider is not None:
        return _provider()
    if _defaults is None:
        _defaults = Settings()
    return _defaults


def configure(settings: Settings | Callable[[], Settings] | None) -> None:
    """Set where :func:`current` gets the settings from.

    Args:
        settings: The settings, or a function that returns them; None goes back to the defaults.
    """
    global _provider
    _provider = settings if settings is None or callable(settings) else lambda: settings
