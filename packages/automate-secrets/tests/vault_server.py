"""A small HashiCorp Vault in the test process, on loopback, for clients that speak HTTP to it.

It was written from Vault's public API documents and is independent of the backend that is tested with it. What is set
up goes through the API too, by :meth:`VaultServer.write` or by any client with :attr:`VaultServer.root_token`.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from vault_auth import AppRole, AuthMethod, Kubernetes
from vault_engines import NOTHING, Answer, Call, Clock, Engine, KVv1, KVv2, Refusal, stamp
from vault_faults import Troubles
from vault_tokens import Policies, Token, Tokens
from vault_transit import Transit
from vault_wire import Reply, enveloped, handler, json_reply, parsed

VERSION = "1.17.0"
_OPERATIONS = {"GET": "read", "HEAD": "read", "LIST": "list", "POST": "write", "PUT": "write", "DELETE": "delete"}


class ManualClock:
    """A clock that moves when it is told.

    Args:
        now: The first time, in seconds since the epoch.
    """

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class Request(NamedTuple):
    """One request as the journal keeps it: the token itself is not in it.

    ``path`` is without ``/v1/`` and without the namespace; ``accessor`` is that of the token, ``""`` without a valid
    one; ``status`` is 0 where the connection was dropped.
    """

    method: str
    path: str
    namespace: str
    accessor: str
    status: int


@dataclass
class Mount:
    """A secrets engine where it is mounted."""

    engine: Engine
    options: Mapping[str, str] | None
    accessor: str = field(default_factory=lambda: f"kv_{uuid.uuid4().hex[:8]}")


class Namespace:
    """What belongs to one namespace: mounts, login methods, policies."""

    def __init__(self) -> None:
        self.mounts: dict[str, Mount] = {}
        self.methods: dict[str, AuthMethod] = {}
        self.policies = Policies()


class VaultServer(Troubles):
    """The server: a context manager with a KV version 2 engine at ``secret/``, as Vault's development mode has.

    What can go wrong with it is in :class:`vault_faults.Troubles`.

    Args:
        clock: Gives the time in seconds; leases, versions and JWTs go by it.
    """

    def __init__(self, clock: Clock = time.time) -> None:
        super().__init__()
        self.clock = clock
        self.journal: list[Request] = []
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._tokens = Tokens(clock)
        self._root = self._tokens.issue(Token(["root"], clock(), 0, "auth/token/root", renewable=False))
        self._namespaces = {"": Namespace()}
        self.write("sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> VaultServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def root_token(self) -> str:
        """A token that may do everything and never expires."""
        return self._root.id

    # -- set-up and what happened -------------------------------------------------------------------------------------

    def write(self, path: str, body: Mapping[str, Any] | None = None, *, namespace: str = "") -> Any:
        """Write to a path with the root token, past faults and the journal.

        Args:
            path: The path behind ``/v1/``.
            body: The JSON body.
            namespace: The namespace.

        Returns:
            The ``data`` of the answer, or its ``auth``.

        Raises:
            Refusal: The API refused.
        """
        with self._lock:
            answer = self._answer("write", _join(namespace, path), body or {}, {}, self._root)
        return answer.auth or answer.data

    def policy(self, name: str, rules: Mapping[str, list[str]], *, namespace: str = "") -> None:
        """Write a policy.

        Args:
            name: Its name.
            rules: Capabilities by path pattern.
            namespace: The namespace it belongs to.
        """
        document = {"path": {path: {"capabilities": given} for path, given in rules.items()}}
        self.write(f"sys/policies/acl/{name}", {"policy": json.dumps(document)}, namespace=namespace)

    def kubernetes(self, mount: str = "kubernetes", *, namespace: str = "") -> Kubernetes:
        """Return the Kubernetes method at a mount, for the tokens that its cluster issues."""
        method = self._namespaces[namespace].methods[f"{mount}/"]
        assert isinstance(method, Kubernetes)
        return method

    def count(self, path: str, *, method: str | None = None) -> int:
        """Count the requests whose path ends so.

        Args:
            path: The end of the path, such as ``/login`` or ``auth/token/renew-self``.
            method: The method, else any.
        """
        return sum(entry.path.endswith(path) and method in (None, entry.method) for entry in self.journal)

    @property
    def logins(self) -> int:
        """How many logins were tried."""
        return self.count("/login")

    @property
    def renewals(self) -> int:
        """How many renewals were tried."""
        return self.count("auth/token/renew-self") + self.count("auth/token/renew")

    # -- one request --------------------------------------------------------------------------------------------------

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """Answer one request and write it into the journal; None drops the connection."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        path = unquote(parts.path).removeprefix("/v1/").strip("/")
        full = _join(headers.get("X-Vault-Namespace", ""), path)
        token = headers.get("X-Vault-Token") or headers.get("Authorization", "").removeprefix("Bearer ")
        with self._lock:
            fault = self.take_fault(path)
            caller = self._tokens.find(token)
        if fault and fault.delay:
            self._closing.wait(fault.delay)
        with self._lock:
            reply: Reply | None = None
            if not fault or fault.afterwards or fault.delay:
                reply = self._reply(method, target, full, query, body, caller)
            if fault and fault.drop:
                reply = None
            elif fault and fault.status:
                reply = Reply(fault.status, fault.body or b"", {"Content-Type": "application/json", **fault.headers})
            namespace, below = self._place(full)
            accessor = caller.accessor if caller else ""
            self.journal.append(Request(method, below, namespace, accessor, reply.status if reply else 0))
            return reply

    def _reply(
        self, method: str, target: str, full: str, query: dict[str, str], body: bytes, caller: Token | None
    ) -> Reply:
        try:
            if not target.startswith("/v1/"):
                raise Refusal(404)
            operation = _OPERATIONS.get(method)
            if operation is None or (method == "HEAD" and full != "sys/health"):
                raise Refusal(405, "unsupported operation")
            if operation == "read" and query.get("list") == "true":
                operation = "list"
            if full == "sys/health":
                return self._health(query)
            if full == "sys/seal-status":
                return json_reply(200, self._seal_status())
            if self.is_sealed:
                raise Refusal(503, "Vault is sealed")
            if self.is_standby and self.is_standby.active:
                return Reply(307, b"", {"Location": f"{self.is_standby.active}{target}"})
            return enveloped(self._answer(operation, full, parsed(body), query, caller))
        except Refusal as refusal:
            more = {"warnings": refusal.warnings} if refusal.warnings else {}
            return json_reply(refusal.status, {"errors": refusal.errors, **more})

    def _answer(
        self, operation: str, full: str, body: Mapping[str, Any], query: Mapping[str, str], caller: Token | None
    ) -> Answer:
        name, path = self._place(full)
        namespace = self._namespaces[name]
        call = Call(operation, path, body, query)
        if path.startswith("auth/") and path.endswith("/login") and operation == "write":
            method = path.removeprefix("auth/").removesuffix("login")
            if method in namespace.methods:
                return namespace.methods[method].login(body, path, name)
        if path == "sys/internal/ui/mounts" and operation == "read":
            return Answer({"auth": {}, "secret": self._visible_mounts(name, caller)})
        if caller is None:
            raise Refusal(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
        if path.startswith("sys/internal/ui/mounts/") and operation == "read":
            return self._mount_of(name, path.removeprefix("sys/internal/ui/mounts/"), caller)
        mount = _longest(namespace.mounts, path)
        self._authorise(caller, full, operation, not mount or namespace.mounts[mount].engine.holds(path[len(mount) :]))
        self._tokens.spend(caller)
        if path.startswith("sys/"):
            return self._system(name, call)
        if path.startswith("auth/"):
            return self._auth(namespace, call._replace(path=path.removeprefix("auth/")), caller)
        if not mount:
            raise Refusal(404)
        return namespace.mounts[mount].engine.answer(call._replace(path=path[len(mount) :]))

    def _auth(self, namespace: Namespace, call: Call, caller: Token) -> Answer:
        if call.path.startswith("token/"):
            return self._tokens.answer(call._replace(path=call.path.removeprefix("token/")), caller)
        mount = _longest(namespace.methods, call.path)
        if not mount:
            raise Refusal(404)
        return namespace.methods[mount].answer(call._replace(path=call.path.removeprefix(mount)))

    def _place(self, full: str) -> tuple[str, str]:
        """Split a full path into the namespace and the path within it."""
        name = max((name for name in self._namespaces if f"{full}/".startswith(_join(name, ""))), key=len)
        return name, full.removeprefix(_join(name, ""))

    def _authorise(self, caller: Token, full: str, operation: str, exists: bool) -> None:
        """Check the policies of the token, which count from its namespace down; else :class:`Refusal`."""
        capability = ("update" if exists else "create") if operation == "write" else operation
        inside = full.startswith(_join(caller.namespace, ""))
        path = full.removeprefix(_join(caller.namespace, ""))
        policies = self._namespaces[caller.namespace].policies
        if not inside or not policies.allow(caller.policies, path, capability):
            raise Refusal(403, "1 error occurred:\n\t* permission denied\n\n")

    # -- sys ----------------------------------------------------------------------------------------------------------

    def _system(self, name: str, call: Call) -> Answer:
        namespace = self._namespaces[name]
        match (*call.path.removeprefix("sys/").split("/", 1), call.operation):
            case ("mounts", "read"):
                return Answer({path: _about(mount) for path, mount in namespace.mounts.items()})
            case ("mounts", path, "write"):
                return self._mount(namespace, f"{path.strip('/')}/", call.body)
            case ("mounts", path, "delete"):
                namespace.mounts.pop(f"{path.strip('/')}/", None)
                return NOTHING
            case ("auth", path, "write"):
                kinds = {"approle": AppRole, "kubernetes": Kubernetes}
                if call.body.get("type") not in kinds:
                    raise Refusal(400, f"plugin not found in the catalog: {call.body.get('type')}")
                if f"{path.strip('/')}/" in namespace.methods:
                    raise Refusal(400, f"path is already in use at {path}/")
                namespace.methods[f"{path.strip('/')}/"] = kinds[call.body["type"]](self.clock, self._tokens)
                return NOTHING
            case ("policies", path, "write") if path.startswith("acl/"):
                namespace.policies.write(path.removeprefix("acl/"), call.body.get("policy"))
                return NOTHING
            case ("policy", path, "write"):
                namespace.policies.write(path, call.body.get("policy"))
                return NOTHING
            case ("namespaces", path, "write"):
                self._namespaces.setdefault(_join(name, path), Namespace())
                return Answer({"path": f"{path}/"})
        raise Refusal(404)

    def _mount(self, namespace: Namespace, path: str, body: Mapping[str, Any]) -> Answer:
        if path in namespace.mounts:
            raise Refusal(400, f"path is already in use at {path}")
        options = body.get("options")
        engine: Engine
        match (body.get("type"), str((options or {}).get("version", "1"))):
            case ("kv", "1"):
                engine = KVv1()
            case ("kv", "2"):
                engine = KVv2(self.clock)
            case ("transit", _):
                engine = Transit(self.clock)
            case _:
                raise Refusal(400, f"plugin not found in the catalog: {body.get('type')}")
        namespace.mounts[path] = Mount(engine, options)
        return NOTHING

    def _visible_mounts(self, name: str, caller: Token | None) -> dict[str, Any]:
        mounts = self._namespaces[name].mounts.items()
        return {path: _about(mount) for path, mount in mounts if caller and self._sees(caller, _join(name, path))}

    def _mount_of(self, name: str, path: str, caller: Token) -> Answer:
        mounts = self._namespaces[name].mounts
        found = _longest(mounts, path)
        if not found or not self._sees(caller, _join(name, found)):
            wanted = f'ensure client\'s policies grant access to path "{path}/"'
            raise Refusal(403, f"preflight capability check returned 403, please {wanted}")
        return Answer({"path": found, **_about(mounts[found])})

    def _sees(self, caller: Token, mount: str) -> bool:
        inside = mount.removeprefix(_join(caller.namespace, ""))
        policies = self._namespaces[caller.namespace].policies
        return mount.startswith(_join(caller.namespace, "")) and policies.allow_any_below(caller.policies, inside)

    def _health(self, query: Mapping[str, str]) -> Reply:
        standby = self.is_standby is not None
        performance = bool(self.is_standby and self.is_standby.performance)
        if self.is_sealed:
            status = int(query.get("sealedcode", 503))
        elif performance and query.get("perfstandbyok") not in {"", "true"}:
            status = int(query.get("performancestandbycode", 473))
        elif standby and not performance and query.get("standbyok") not in {"", "true"}:
            status = int(query.get("standbycode", 429))
        else:
            status = int(query.get("activecode", 200))
        return json_reply(
            status,
            {
                "initialized": True,
                "sealed": self.is_sealed,
                "standby": standby,
                "performance_standby": performance,
                "replication_performance_mode": "disabled",
                "replication_dr_mode": "disabled",
                "server_time_utc": int(self.clock()),
                "version": VERSION,
                "cluster_name": "vault-cluster-test",
            },
        )

    def _seal_status(self) -> dict[str, Any]:
        return {
            "type": "shamir",
            "initialized": True,
            "sealed": self.is_sealed,
            "t": 1,
            "n": 1,
            "progress": 0,
            "nonce": "",
            "version": VERSION,
            "build_date": stamp(self.clock()),
            "migration": False,
            "recovery_seal": False,
            "storage_type": "inmem",
        }


def _join(namespace: str, path: str) -> str:
    """Put a namespace before a path; with an empty path, what every path in it begins with."""
    name = namespace.strip("/")
    return f"{name}/{path.lstrip('/')}" if name else path.lstrip("/")


def _longest(mounts: Iterable[str], path: str) -> str:
    """The mount that a path belongs to, or ``""``."""
    return max((mount for mount in mounts if f"{path}/".startswith(mount)), key=len, default="")


def _about(mount: Mount) -> dict[str, Any]:
    return {
        "type": mount.engine.type,
        "options": mount.options,
        "accessor": mount.accessor,
        "description": "",
        "local": False,
        "seal_wrap": False,
        "external_entropy_access": False,
        "config": {"default_lease_ttl": 0, "force_no_cache": False, "max_lease_ttl": 0},
    }
