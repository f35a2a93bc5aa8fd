"""``slack.post_message``: Slack's Web API."""

from __future__ import annotations

from typing import Any

from automate_core.errors import ConfigurationError, PermanentError, RateLimited, TransientError
from automate_core.retry import parse_retry_after
from automate_core.secrets import SecretValue
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from automate_connectors._responses import EgressResponse
from automate_connectors.base import ActionSpec, HTTPConnector

__all__ = ["PostMessage", "PostedMessage", "Slack", "SlackConfig"]

_RATE_LIMITED = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
_TRANSIENT = frozenset(
    {
        "external_channel_migrating", "fatal_error", "internal_error", "request_timeout", "service_unavailable",
        "team_added_to_org",
    }
)  # fmt: skip
"""Slack's names of errors that pass; every other one would come again."""


class SlackConfig(BaseModel):
    """The settings of a ``slack`` connection."""

    model_config = ConfigDict(extra="forbid")

    token: SecretStr = Field(SecretStr(""), description="A bot token, xoxb-…; store it as a secret reference.")
    base_url: str = Field("https://slack.com/api", description="Where the Web API is.")


class PostMessage(BaseModel):
    """What ``slack.post_message`` takes."""

    model_config = ConfigDict(extra="forbid")

    channel: str = Field(min_length=1, description="Id or name of the channel, or id of a user.")
    text: str = Field("", max_length=40_000, description="The text; beside blocks, what notifications show.")
    blocks: list[dict[str, Any]] | None = Field(None, max_length=50, description="Block Kit blocks.")
    thread_ts: str | None = Field(None, description="The ts of the message to answer in its thread.")
    token: SecretValue | None = Field(None, description="Another bot token than the connection's; a secret reference.")

    @model_validator(mode="after")
    def _says_something(self) -> PostMessage:
        if not self.text and not self.blocks:
            raise ValueError("give a text or blocks")
        return self


class PostedMessage(BaseModel):
    """What ``slack.post_message`` returns."""

    channel: str = Field(description="Id of the channel.")
    ts: str = Field(description="Id of the message within the channel; the thread_ts of an answer to it.")


class Slack(HTTPConnector):
    """Posts to Slack."""

    key = "slack"
    display_name = "Slack"
    hosts = ("slack.com",)

    @classmethod
    def actions(cls) -> list[ActionSpec]:
        """Return the one action."""
        return [ActionSpec("post_message", PostMessage, PostedMessage, title="Post a message")]

    def execute_action(self, action: str, input_data: dict[str, Any]) -> Any:
        """Post the message.

        Args:
            action: ``post_message``.
            input_data: A :class:`PostMessage`.

        Returns:
            A :class:`PostedMessage`, as JSON.

        Raises:
            ConfigurationError: If there is no token.
            RateLimited: If Slack asks for fewer calls.
            TransientError: If Slack has trouble of its own.
            PermanentError: If Slack refuses the message; ``context["slack_error"]`` is its name for why.
        """
        if action != "post_message":
            return super().execute_action(action, input_data)
        message = PostMessage.model_validate(input_data)
        config = self.settings(SlackConfig)
        token = message.token.reveal() if message.token else config.token.get_secret_value()
        if not token:
            raise ConfigurationError(
                "slack.post_message has no token: pass one as 'token', a secret reference such as $secret:SLACK_TOKEN."
            )
        response = self.egress().request(
            "POST",
            f"{config.base_url.rstrip('/')}/chat.postMessage",
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json; charset=utf-8"},
            json=message.model_dump(mode="json", exclude={"token"}, exclude_defaults=True),
            timeout=self.timeout(),
            follow_redirects=False,
        )
        answer = _checked(response)
        return PostedMessage(channel=str(answer.get("channel", "")), ts=str(answer.get("ts", ""))).model_dump()


def _checked(response: EgressResponse) -> dict[str, Any]:
    answer = response.raise_for_status().json()
    if not isinstance(answer, dict):
        raise PermanentError(f"{response.origin} did not answer as Slack does.")
    if answer.get("ok") is True:
        return answer
    name = str(answer.get("error", "unknown_error"))[:100]
    text, context = f"Slack refused the message: {name}.", {"slack_error": name}
    if name in _RATE_LIMITED:
        wait = parse_retry_after(response.headers.get("retry-after"))
        raise RateLimited(text, context=context, retry_after=wait)
    if name in _TRANSIENT:
        raise TransientError(text, context=context)
    raise PermanentError(text, context=context)
