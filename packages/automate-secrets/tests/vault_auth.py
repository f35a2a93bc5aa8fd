"""Logins of the Vault that tests talk to: AppRole and Kubernetes. See :mod:`vault_server`."""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vault_engines import DEFAULT_LEASE, NOTHING, Answer, Call, Clock, Refusal, keys_below, seconds
from vault_tokens import Token, Tokens


class Role:
    """What a login of a role gives.

    Args:
        name: The role's name.
        body: Its settings, as they were written.
    """

    def __init__(self, name: str, body: Mapping[str, Any]) -> None:
        self.name = name
        self.settings = dict(body)
        self.id = str(uuid.uuid4())

    def token(self, now: float, path: str, namespace: str, metadata: dict[str, str]) -> Token:
        """Make the token of one login."""
        settings = self.settings
        given = settings.get("token_policies") or settings.get("policies") or []
        always = set() if settings.get("token_no_default_policy") else {"default"}
        return Token(
            sorted(always | set(given.split(",") if isinstance(given, str) else given)),
            now,
            seconds(settings.get("token_ttl", 0)) or DEFAULT_LEASE,
            path,
            namespace=namespace,
            max_ttl=seconds(settings.get("token_max_ttl", 0)),
            period=seconds(settings.get("token_period", 0)),
            uses=int(settings.get("token_num_uses", 0)),
            metadata=metadata,
        )


class AuthMethod:
    """A login method: roles below ``role/``, and ``login``, which needs no token.

    Args:
        clock: Gives the time in seconds.
        tokens: Where a login's token is kept.
    """

    type = ""

    def __init__(self, clock: Clock, tokens: Tokens) -> None:
        self.clock = clock
        self.roles: dict[str, Role] = {}
        self._tokens = tokens

    def answer(self, call: Call) -> Answer:
        """Answer what needs a token: the roles."""
        match (*call.path.split("/"), call.operation):
            case ("role", "list"):
                return keys_below("", list(self.roles))
            case ("role", name, "write"):
                self.roles.setdefault(name, Role(name, {})).settings.update(call.body)
                return NOTHING
            case ("role", name, "read"):
                return Answer(dict(self.role(name).settings))
            case ("role", name, "delete"):
                self.roles.pop(name, None)
                return NOTHING
        return self.answer_more(call)

    def answer_more(self, call: Call) -> Answer:
        """Answer what this method has beside roles."""
        raise Refusal(404)

    def role(self, name: str) -> Role:
        """Return a role; :class:`Refusal` where there is none."""
        if name not in self.roles:
            raise Refusal(404)
        return self.roles[name]

    def login(self, body: Mapping[str, Any], path: str, namespace: str) -> Answer:
        """Check what the client shows, and issue a token.

        Args:
            body: The body of the request.
            path: The path of the login, which the token keeps.
            namespace: The namespace of the method.
        """
        role, metadata = self.authenticate(body)
        token = self._tokens.issue(role.token(self.clock(), path, namespace, metadata))
        return Answer(auth=self._tokens.describe_lease(token))

    def authenticate(self, body: Mapping[str, Any]) -> tuple[Role, dict[str, str]]:
        """Return the role, and metadata for the token; :class:`Refusal` where the client may not log in."""
        raise NotImplementedError


@dataclass
class _SecretId:
    role: str
    uses: int
    expires: float
    accessor: str = field(default_factory=lambda: str(uuid.uuid4()))


class AppRole(AuthMethod):
    """The AppRole method: a role id and a secret id, which may be for one use or for a while."""

    type = "approle"

    def __init__(self, clock: Clock, tokens: Tokens) -> None:
        super().__init__(clock, tokens)
        self._secret_ids: dict[str, _SecretId] = {}

    def answer_more(self, call: Call) -> Answer:
        """Answer role ids and secret ids."""
        match (*call.path.split("/"), call.operation):
            case ("role", name, "role-id", "read"):
                return Answer({"role_id": self.role(name).id})
            case ("role", name, "role-id", "write"):
                self.role(name).id = str(call.body["role_id"])
                return NOTHING
            case ("role", name, "secret-id", "write"):
                return self._generate(self.role(name), call.body)
            case ("role", _, "secret-id", "destroy", "write"):
                self._secret_ids.pop(str(call.body["secret_id"]), None)
                return NOTHING
        raise Refusal(404)

    def _generate(self, role: Role, body: Mapping[str, Any]) -> Answer:
        ttl = seconds(body.get("ttl", role.settings.get("secret_id_ttl", 0)))
        uses = int(body.get("num_uses", role.settings.get("secret_id_num_uses", 0)))
        text = str(uuid.uuid4())
        entry = self._secret_ids[text] = _SecretId(role.name, uses, self.clock() + ttl if ttl else 0)
        about = {"secret_id_ttl": ttl, "secret_id_num_uses": uses, "secret_id_accessor": entry.accessor}
        return Answer({"secret_id": text, **about})

    def authenticate(self, body: Mapping[str, Any]) -> tuple[Role, dict[str, str]]:
        """Check the role id, and the secret id unless the role needs none; its last use forgets it."""
        if not body.get("role_id"):
            raise Refusal(400, "missing role_id")
        role = next((role for role in self.roles.values() if role.id == body["role_id"]), None)
        if role is None:
            raise Refusal(400, "invalid role or secret ID")
        if role.settings.get("bind_secret_id", True):
            self._use(role, str(body.get("secret_id") or ""))
        return role, {"role_name": role.name}

    def _use(self, role: Role, text: str) -> None:
        if not text:
            raise Refusal(400, "missing secret_id")
        entry = self._secret_ids.get(text)
        if entry is None or entry.role != role.name or 0 < entry.expires <= self.clock():
            raise Refusal(400, "invalid role or secret ID")
        if entry.uses:
            entry.uses -= 1
            if not entry.uses:
                del self._secret_ids[text]


class Kubernetes(AuthMethod):
    """The Kubernetes method. The cluster that reviews a service account's token is in here too."""

    type = "kubernetes"

    def __init__(self, clock: Clock, tokens: Tokens) -> None:
        super().__init__(clock, tokens)
        self._known: dict[str, dict[str, Any]] = {}

    def issue_jwt(self, name: str, namespace: str = "default", *, audience: str = "vault", ttl: int = 3600) -> str:
        """Let the cluster issue a token for a service account, as it mounts it into a pod.

        Args:
            name: The service account.
            namespace: Its namespace in the cluster.
            audience: The claim ``aud``.
            ttl: Seconds until the cluster no longer takes it.

        Returns:
            A JSON Web Token with a signature of random bytes: whether it is genuine, the cluster alone says.
        """
        claims = {
            "aud": [audience],
            "exp": int(self.clock()) + ttl,
            "iss": "https://kubernetes.default.svc.cluster.local",
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": str(uuid.uuid4())}},
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
        text = ".".join(
            base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in [*parts, secrets.token_bytes()]
        )
        self._known[text] = claims
        return text

    def authenticate(self, body: Mapping[str, Any]) -> tuple[Role, dict[str, str]]:
        """Check the JWT with the cluster, then what the role binds."""
        for name in ("role", "jwt"):
            if not body.get(name):
                raise Refusal(400, f"missing {name}")
        role = self.roles.get(body["role"])
        if role is None:
            raise Refusal(400, f'invalid role name "{body["role"]}"')
        claims = self._known.get(body["jwt"])
        if claims is None or claims["exp"] <= self.clock():
            raise Refusal(403, "permission denied")
        if role.settings.get("audience") and role.settings["audience"] not in claims["aud"]:
            raise Refusal(403, "permission denied")
        account = claims["kubernetes.io"]
        if not _bound(role.settings.get("bound_service_account_names"), account["serviceaccount"]["name"]):
            raise Refusal(403, "service account name not authorized")
        if not _bound(role.settings.get("bound_service_account_namespaces"), account["namespace"]):
            raise Refusal(403, "namespace not authorized")
        return role, {
            "role": role.name,
            "service_account_name": account["serviceaccount"]["name"],
            "service_account_namespace": account["namespace"],
            "service_account_uid": account["serviceaccount"]["uid"],
        }


def _bound(wanted: Any, name: str) -> bool:
    names = wanted.split(",") if isinstance(wanted, str) else list(wanted or ())
    return "*" in names or name in names
