"""A client of Vault that stays logged in. Imports hvac and requests, so it is imported at first use."""

from __future__ import annotations

import logging
import math
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import hvac
import requests
from automate_core.errors import ConfigurationError, SecretAccessDenied, SecretBackendUnavailable, SecretError
from automate_core.redaction import remember
from automate_core.settings import VaultSettings
from automate_core.single_flight import SingleFlight

from automate_secrets._credentials import read_credential, read_reference
from automate_secrets._vault_answers import VaultAdapter, VaultRefusal

__all__ = ["VaultClient"]

logger = logging.getLogger("automate.secrets")

T = TypeVar("T")

_SOONEST = 1.0
"""Seconds between two attempts to renew."""

_MEANT = 30.0
"""Seconds in which a denial is taken as meant, after a new login did not help against one."""

_DEAD = "invalid token"


@dataclass(frozen=True, slots=True, eq=False)
class _Login:
    """A token, and how long it works by the client's clock. Its repr does not show the token, which the client has."""

    client: Any
    granted: float
    renewable: bool
    renew_at: float
    ends_at: float
    pid: int

    @classmethod
    def of(cls, client: Any, seconds: Any, *, renewable: object, now: float) -> _Login:
        lease = float(seconds or 0) or math.inf  # 0 is the lease of a token that does not expire
        return cls(client, lease, renewable is True, now + lease / 2, now + lease, os.getpid())


class VaultClient:
    """Calls Vault through hvac, logged in as ``SECRETS.vault`` says; threads share it.

    The token is renewed by the first call after half of its lease, and replaced by a new login where it cannot be
    renewed, has expired, or stopped working before its time. Where a new login did not help against a denial, the next
    denials within 30 seconds are taken as meant.

    Args:
        settings: The section ``SECRETS.vault``.
        clock: Tells monotonic time in seconds.

    Raises:
        ConfigurationError: If the settings name no address.
    """

    def __init__(self, settings: VaultSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not settings.address:
            raise ConfigurationError(
                "The setting SECRETS.vault.address is empty. Set it, such as to https://vault.example.com:8200, and "
                "with SECRETS.vault.auth how to log in."
            )
        self.settings = settings
        self._clock = clock
        self._login: _Login | None = None
        self._logins = SingleFlight()
        self._renewing = threading.Lock()
        self._meant_until = -math.inf
        self._connections: tuple[int, requests.Session | None] = (0, None)

    def call(
        self, ask: Callable[[Any], T], *, explain: Callable[[VaultRefusal], SecretError | None] | None = None
    ) -> T:
        """Ask Vault something.

        Args:
            ask: Gets an :class:`hvac.Client` that is logged in, and asks. It is called a second time where the token
                has stopped working.
            explain: Says what a refusal means to whoever asks; None leaves it to this client.

        Returns:
            What ``ask`` returned.

        Raises:
            SecretAccessDenied: If Vault refuses the login or the request.
            SecretNotFoundError: If there is nothing at the path.
            SecretBackendUnavailable: If Vault cannot be reached, is sealed, on standby, limits its rate or fails.
            ConfigurationError: If the credentials of the login cannot be read.
            SecretError: If Vault does not understand the request.
        """
        login = self._current()
        try:
            try:
                return ask(login.client)
            except VaultRefusal as refusal:
                successor = self._successor(login, refusal) if refusal.status == HTTPStatus.FORBIDDEN else None
                if successor is None:
                    raise
            return self._ask_again(ask, successor)
        except VaultRefusal as refusal:
            raise (explain and explain(refusal)) or refusal.as_error() from refusal

    # -- the login --------------------------------------------------------------------------------------------------

    def _current(self) -> _Login:
        login = self._login
        if login is None or login.pid != os.getpid() or self._clock() >= login.ends_at:
            return self._logins.run("login", partial(self._log_in, login))
        if self._clock() >= login.renew_at and self._renewing.acquire(blocking=False):
            try:
                return self._renew(login)
            finally:
                self._renewing.release()
        return login

    def _successor(self, login: _Login, denial: VaultRefusal) -> _Login | None:
        """Log in again where a token has stopped working; None where it works, and the refusal is meant.

        What may not look at itself does not tell which it is, and would cost a login at each denied read. Newer Vaults
        say of a token that it is none.
        """
        is_meant = _DEAD not in denial.said and self._clock() < self._meant_until
        if is_meant and self._login is login:
            return None
        try:
            login.client.auth.token.lookup_self()
        except VaultRefusal as refusal:
            if refusal.status != HTTPStatus.FORBIDDEN:
                return None
        else:
            return None
        try:
            successor = self._logins.run("login", partial(self._log_in, login))
        except SecretAccessDenied:
            self._meant_until = self._clock() + _MEANT
            raise
        return successor if successor.client.token != login.client.token else None

    def _ask_again(self, ask: Callable[[Any], T], successor: _Login) -> T:
        try:
            return ask(successor.client)
        except VaultRefusal as refusal:
            if refusal.status == HTTPStatus.FORBIDDEN:
                self._meant_until = self._clock() + _MEANT
            raise

    def _renew(self, login: _Login) -> _Login:
        """Renew a token that still works; what fails is tried again later, as long as it works."""
        if self._login is not login:
            return self._current()  # somebody was faster
        try:
            self._login = self._renewed(login) or self._logins.run("login", partial(self._log_in, login))
        except (VaultRefusal, SecretError, ConfigurationError) as error:
            now = self._clock()
            left = login.ends_at - now
            logger.warning("The token of Vault is not renewed, and works for another %d s: %s", left, error)
            self._login = replace(login, renew_at=now + max(left / 2, _SOONEST))
        return self._login

    def _renewed(self, login: _Login) -> _Login | None:
        """Renew a token; None where Vault wants a new login instead."""
        if not login.renewable:
            return None
        now = self._clock()
        try:
            auth = login.client.auth.token.renew_self()["auth"]
            seconds, renewable = auth["lease_duration"], auth["renewable"]
        except VaultRefusal as refusal:
            if refusal.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN):
                return None
            raise
        except (LookupError, TypeError) as error:
            raise SecretBackendUnavailable(
                f"What Vault answers to a renewal is none ({type(error).__name__})."
            ) from error
        renewed = _Login.of(login.client, seconds, renewable=renewable, now=now)
        # Short of the end that its role sets, Vault grants less and less: the next time is a new login.
        exhausted = renewed.granted <= login.granted / 2
        return replace(renewed, granted=login.granted, renewable=renewed.renewable and not exhausted)

    def _log_in(self, instead_of: _Login | None) -> _Login:
        if self._login is not None and self._login is not instead_of and self._login.pid == os.getpid():
            return self._login  # somebody was faster
        methods = {
            "token": self._log_in_by_token,
            "approle": self._log_in_by_approle,
            "kubernetes": self._log_in_by_kubernetes,
        }
        now = self._clock()
        try:
            client, seconds, renewable = methods[self.settings.auth]()
        except VaultRefusal as refusal:
            raise self._login_error(refusal) from refusal
        except (AttributeError, LookupError, TypeError) as error:
            raise SecretBackendUnavailable(
                f"What Vault answers to the login by {self.settings.auth} is no login ({type(error).__name__})."
            ) from error
        self._login = _Login.of(client, seconds, renewable=renewable, now=now)
        return self._login

    def _log_in_by_token(self) -> tuple[Any, Any, object]:
        if self.settings.token:
            token = read_reference("SECRETS.vault.token", self.settings.token)
        else:
            token = read_credential("SECRETS.vault.token_file", self.settings.token_file)
        client = self._new_client(token)
        try:
            data = client.auth.token.lookup_self()["data"]
        except VaultRefusal as refusal:
            if refusal.status != HTTPStatus.FORBIDDEN:
                raise
            return client, 0, False  # it may not look at itself, but work all the same
        return client, data["ttl"], data.get("renewable")

    def _log_in_by_approle(self) -> tuple[Any, Any, object]:
        secret_id = None
        if self.settings.secret_id:
            secret_id = read_reference("SECRETS.vault.secret_id", self.settings.secret_id)
        elif self.settings.secret_id_file:
            secret_id = read_credential("SECRETS.vault.secret_id_file", self.settings.secret_id_file)
        role_id = read_reference("SECRETS.vault.role_id", self.settings.role_id)
        answer = self._new_client().auth.approle.login(
            role_id, secret_id, use_token=False, mount_point=self.settings.auth_mount or "approle"
        )
        return self._accept(answer)

    def _log_in_by_kubernetes(self) -> tuple[Any, Any, object]:
        answer = self._new_client().auth.kubernetes.login(
            self.settings.role,
            # The kubelet writes it for every user of the pod, unless there is an fsGroup.
            read_credential("SECRETS.vault.jwt_file", self.settings.jwt_file, readers=stat.S_IRGRP | stat.S_IROTH),
            use_token=False,
            mount_point=self.settings.auth_mount or "kubernetes",
        )
        return self._accept(answer)

    def _accept(self, answer: Any) -> tuple[Any, Any, object]:
        auth = answer.get("auth") or {}
        if not auth.get("client_token"):
            raise SecretAccessDenied(
                f"Vault answers the login by {self.settings.auth} without a token: does it ask for a second factor?"
            )
        return self._new_client(auth["client_token"]), auth["lease_duration"], auth["renewable"]

    def _new_client(self, token: str = "") -> Any:
        """Make a client for one token; nothing of it comes from the environment."""
        remember(token)
        session = self._session
        return hvac.Client(
            url=self.settings.address,
            token=token,
            cert=(),
            verify=session.verify,
            timeout=(self.settings.connect_seconds, self.settings.timeout_seconds),
            allow_redirects=False,  # which would take the token along
            session=session,
            adapter=VaultAdapter,
            namespace=self.settings.namespace or None,
        )

    @property
    def _session(self) -> requests.Session:
        """The connections of this process; those of the process that it was forked from stay with that one."""
        pid, session = self._connections
        if session is None or pid != os.getpid():
            session = requests.Session()
            session.trust_env = False  # no proxies, and no other certificates than the settings name
            session.verify = self._trusted()
            self._connections = (os.getpid(), session)
        return session

    def _trusted(self) -> str | bool:
        if self.settings.ca and not Path(self.settings.ca).exists():
            raise ConfigurationError(f"There is no file {self.settings.ca}, which the setting SECRETS.vault.ca names.")
        return self.settings.ca or True

    # -- errors -----------------------------------------------------------------------------------------------------

    def _login_error(self, refusal: VaultRefusal) -> SecretError:
        refused = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
        if refusal.status not in refused:
            return refusal.as_error()
        remedy = {
            "token": "Check SECRETS.vault.token.",
            "approle": "Check role_id, auth_mount and the SecretID, which may have expired or been used up: "
            "put a new one in its place.",
            "kubernetes": "Check role, auth_mount and jwt_file, and that the role is bound to the service account.",
        }[self.settings.auth]
        return SecretAccessDenied(
            f"Vault refuses the login by {self.settings.auth} ({refusal.summary}). {remedy}", context=refusal.context
        )
