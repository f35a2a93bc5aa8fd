"""Every error that Automate raises, in one tree.

::

    AutomateError(code, message, retryable=False, context=None)
    ├── ConfigurationError
    ├── InvalidPayloadError
    ├── EventNotFound
    ├── ArtifactError
    │   ├── ArtifactUnavailable          retryable
    │   └── ArtifactCorrupt
    ├── AuditError
    │   └── AuditChainBroken
    ├── PluginError
    │   ├── PluginLoadError
    │   ├── IncompatiblePluginError
    │   ├── DuplicateKeyError
    │   └── NotRegisteredError
    ├── RuleError
    │   ├── RuleSyntaxError
    │   ├── UnknownOperationError
    │   ├── RuleLimitExceeded
    │   └── RuleEvaluationError
    ├── SecretError
    │   ├── SecretNotFoundError
    │   ├── SecretAccessDenied
    │   ├── SecretDecryptionError
    │   └── SecretBackendUnavailable     retryable
    ├── OutboxError
    │   ├── LeaseLostError
    │   ├── DoubtfulCommitError
    │   └── DuplicateEventError
    ├── ExecutionError
    │   ├── StepTimeout                  retryable
    │   ├── StepFailed
    │   ├── TemplateError
    │   ├── InvalidDefinitionError
    │   └── WorkflowNotFound
    ├── ConnectorError
    │   ├── TransientError               retryable
    │   │   └── RateLimited              with retry_after
    │   ├── PermanentError
    │   │   └── InvalidInputError
    │   └── UnknownActionError
    ├── LLMError
    │   ├── BudgetExceeded
    │   ├── ProviderUnavailable          retryable
    │   └── ContextTooLong
    ├── RagError
    │   └── EndpointNotFound
    └── PolicyError
        ├── SSRFBlocked
        └── ConnectorNotAllowed

The runtime decides on ``retryable`` and ``retry_after`` alone. Exceptions of vendors are wrapped with ``raise … from``.
"""

from __future__ import annotations

from automate_core._error_base import AutomateError, ErrorCodes, _rebuild, nearby  # noqa: F401 - by name in pickles

__all__ = [
    "ArtifactCorrupt",
    "ArtifactError",
    "ArtifactUnavailable",
    "AuditChainBroken",
    "AuditError",
    "AutomateError",
    "BudgetExceeded",
    "ConfigurationError",
    "ConnectorError",
    "ConnectorNotAllowed",
    "ContextTooLong",
    "DoubtfulCommitError",
    "DuplicateEventError",
    "DuplicateKeyError",
    "EndpointNotFound",
    "ErrorCodes",
    "EventNotFound",
    "ExecutionError",
    "IncompatiblePluginError",
    "InvalidDefinitionError",
    "InvalidInputError",
    "InvalidPayloadError",
    "LLMError",
    "LeaseLostError",
    "NotRegisteredError",
    "OutboxError",
    "PermanentError",
    "PluginError",
    "PluginLoadError",
    "PolicyError",
    "ProviderUnavailable",
    "RagError",
    "RateLimited",
    "RuleError",
    "RuleEvaluationError",
    "RuleLimitExceeded",
    "RuleSyntaxError",
    "SSRFBlocked",
    "SecretAccessDenied",
    "SecretBackendUnavailable",
    "SecretDecryptionError",
    "SecretError",
    "SecretNotFoundError",
    "StepFailed",
    "StepTimeout",
    "TemplateError",
    "TransientError",
    "UnknownActionError",
    "UnknownOperationError",
    "WorkflowNotFound",
    "nearby",
]


class ConfigurationError(AutomateError):
    """A setting or a declaration is wrong."""

    default_code = ErrorCodes.CONFIGURATION


class InvalidPayloadError(AutomateError):
    """A payload cannot be stored as JSON; ``context["pointer"]`` says where."""

    default_code = ErrorCodes.INVALID_PAYLOAD


class EventNotFound(AutomateError):
    """No event has this id."""

    default_code = ErrorCodes.EVENT_NOT_FOUND


class ArtifactError(AutomateError):
    """A large value, kept outside of its row, cannot be used."""

    default_code = ErrorCodes.ARTIFACT


class ArtifactUnavailable(ArtifactError):
    """The storage of artifacts cannot be written or read, or does not have the file."""

    default_code = ErrorCodes.ARTIFACT_UNAVAILABLE
    retryable = True


class ArtifactCorrupt(ArtifactError):
    """The file of an artifact does not hold what was written."""

    default_code = ErrorCodes.ARTIFACT_CORRUPT


class AuditError(AutomateError):
    """The audit log cannot be read or written as was asked for."""

    default_code = ErrorCodes.AUDIT


class AuditChainBroken(AuditError):
    """The end of the audit log is not what was written last: it was changed, or the key that sealed it is missing."""

    default_code = ErrorCodes.AUDIT_CHAIN_BROKEN


class PluginError(AutomateError):
    """Something is wrong with a plugin."""

    default_code = ErrorCodes.PLUGIN


class PluginLoadError(PluginError):
    """A plugin, or what it registers, cannot be imported."""

    default_code = ErrorCodes.PLUGIN_LOAD


class IncompatiblePluginError(PluginError):
    """A plugin asks for another version of automate-core than the installed one."""

    default_code = ErrorCodes.PLUGIN_INCOMPATIBLE


class DuplicateKeyError(PluginError):
    """Two plugins register one key."""

    default_code = ErrorCodes.DUPLICATE_KEY


class NotRegisteredError(PluginError):
    """Nothing is registered under this key."""

    default_code = ErrorCodes.NOT_REGISTERED


class RuleError(AutomateError):
    """A rule is wrong; ``context["pointer"]`` is a JSON pointer to the node."""

    default_code = ErrorCodes.RULE


class RuleSyntaxError(RuleError):
    """A rule is not well formed: arity, keys, types or cycles."""

    default_code = ErrorCodes.RULE_SYNTAX


class UnknownOperationError(RuleError):
    """A rule uses an operator that does not exist."""

    default_code = ErrorCodes.UNKNOWN_OPERATION


class RuleLimitExceeded(RuleError):
    """A rule is too deep, too large, or did too much work."""

    default_code = ErrorCodes.RULE_LIMIT


class RuleEvaluationError(RuleError):
    """A rule failed on its data: a custom operator raised, or an operator of the community dialect failed."""

    default_code = ErrorCodes.RULE_EVALUATION


class SecretError(AutomateError):
    """A secret reference cannot be used."""

    default_code = ErrorCodes.SECRET


class SecretNotFoundError(SecretError):
    """The secret does not exist."""

    default_code = ErrorCodes.SECRET_NOT_FOUND


class SecretAccessDenied(SecretError):
    """Access to the secret is not permitted."""

    default_code = ErrorCodes.SECRET_ACCESS_DENIED


class SecretDecryptionError(SecretError):
    """The stored secret cannot be decrypted: it was changed, moved, or its key is not configured."""

    default_code = ErrorCodes.SECRET_DECRYPTION


class SecretBackendUnavailable(SecretError):
    """The secret backend cannot be reached."""

    default_code = ErrorCodes.SECRET_BACKEND_UNAVAILABLE
    retryable = True


class OutboxError(AutomateError):
    """An outbox operation was refused."""

    default_code = ErrorCodes.OUTBOX


class LeaseLostError(OutboxError):
    """The caller no longer holds the lease of the item; nothing was written."""

    default_code = ErrorCodes.LEASE_LOST


class DoubtfulCommitError(OutboxError):
    """The answer to a commit was lost: only the rows tell whether it was done."""

    default_code = ErrorCodes.DOUBTFUL_COMMIT


class DuplicateEventError(OutboxError):
    """The dedupe key was used before, with another payload."""

    default_code = ErrorCodes.DUPLICATE_EVENT


class ExecutionError(AutomateError):
    """A run cannot be made or continued."""

    default_code = ErrorCodes.EXECUTION


class StepTimeout(ExecutionError):
    """A step took longer than its timeout."""

    default_code = ErrorCodes.STEP_TIMEOUT
    retryable = True


class StepFailed(ExecutionError):
    """A step failed for good."""

    default_code = ErrorCodes.STEP_FAILED


class TemplateError(ExecutionError):
    """A template cannot be parsed or rendered."""

    default_code = ErrorCodes.TEMPLATE


class InvalidDefinitionError(ExecutionError):
    """A workflow definition cannot be published; ``context["problems"]`` lists why, each with a JSON pointer."""

    default_code = ErrorCodes.INVALID_DEFINITION


class WorkflowNotFound(ExecutionError):
    """No workflow of this name has a live version."""

    default_code = ErrorCodes.WORKFLOW_NOT_FOUND


class ConnectorError(AutomateError):
    """An action of a connector failed."""

    default_code = ErrorCodes.CONNECTOR


class TransientError(ConnectorError):
    """The call failed in a way that may pass: a timeout, a lost connection, a 5xx answer."""

    default_code = ErrorCodes.TRANSIENT
    retryable = True


class RateLimited(TransientError):
    """The other side asked for fewer calls; ``retry_after`` says how long to wait."""

    default_code = ErrorCodes.RATE_LIMITED


class PermanentError(ConnectorError):
    """The call failed and would fail again."""

    default_code = ErrorCodes.PERMANENT


class InvalidInputError(PermanentError):
    """The input of an action does not fit its schema; ``context["pointer"]`` says where."""

    default_code = ErrorCodes.INVALID_INPUT


class UnknownActionError(ConnectorError):
    """The connector has no such action."""

    default_code = ErrorCodes.UNKNOWN_ACTION


class LLMError(AutomateError):
    """A call to a language model failed."""

    default_code = ErrorCodes.LLM


class BudgetExceeded(LLMError):
    """The call could cost more than what is left of the budget."""

    default_code = ErrorCodes.BUDGET_EXCEEDED


class ProviderUnavailable(LLMError):
    """The provider cannot be reached, or answers with a 5xx or 429."""

    default_code = ErrorCodes.PROVIDER_UNAVAILABLE
    retryable = True


class ContextTooLong(LLMError):
    """The messages do not fit the model's context."""

    default_code = ErrorCodes.CONTEXT_TOO_LONG


class RagError(AutomateError):
    """A retrieval call is wrong or failed."""

    default_code = ErrorCodes.RAG


class EndpointNotFound(RagError):
    """No documents were ever indexed into this endpoint."""

    default_code = ErrorCodes.ENDPOINT_NOT_FOUND


class PolicyError(AutomateError):
    """The policy forbids the call."""

    default_code = ErrorCodes.POLICY


class SSRFBlocked(PolicyError):
    """The host of an outgoing call is denied, not listed, or has a private or special address."""

    default_code = ErrorCodes.SSRF_BLOCKED


class ConnectorNotAllowed(PolicyError):
    """The connector or action is on a denylist, or not on the allowlist."""

    default_code = ErrorCodes.CONNECTOR_NOT_ALLOWED
