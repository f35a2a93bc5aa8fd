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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from vault_auth import AppRole, AuthMethod, Kubernetes, Policies, Token, Tokens
from vault_engines import NOTHING, Answer, Call, Clock, Engine, KVv1, KVv2, Refusal, stamp
from vault_transit import Transit

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
class Fault:
    """What goes wrong with requests below a path, ``times`` times, or until :meth:`VaultServer.heal` with None."""

    path: str = ""
    times: int | None = 1
    status: int = 0
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    drop: bool = False
    afterwards: bool = False


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


class Reply(NamedTuple):
    """An answer on its way out."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class VaultServer:
    """The server: a context manager with a KV version 2 engine at ``secret/``, as Vault's development mode has.

    Args:
        clock: Gives the time in seconds; leases, versions and JWTs go by it.
    """

    def __init__(self, clock: Clock = time.time) -> None:
        self.clock = clock
        self.journal: list[Request] = []
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._faults: list[Fault] = []
        self._sealed = False
        self._standby: dict[str, Any] | None = None
        self._tokens = Tokens(clock)
        self._root = self._tokens.issue(Token(["root"], clock(), 0, "auth/token/root", renewable=False))
        self._namespaces = {"": Namespace()}
        self.write("sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
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

    # -- what goes wrong ----------------------------------------------------------------------------------------------

    def seal(self) -> None:
        """Answer 503 to everything but health and seal status, until :meth:`unseal`."""
        self._sealed = True

    def unseal(self) -> None:
        """Undo :meth:`seal`."""
        self._sealed = False

    def standby(self, *, performance: bool = False, active: str | None = None) -> None:
        """Be a standby node: health says 429, or 473. Other requests are forwarded, that is: answered.

        Args:
            performance: A performance standby.
            active: Do not forward, but redirect (307) to the active node at this URL.
        """
        self._standby = {"performance": performance, "active": active}

    def activate(self) -> None:
        """Undo :meth:`standby`."""
        self._standby = None

    def fail(
        self,
        status: int,
        *errors: str,
        times: int | None = 1,
        path: str = "",
        retry_after: int | str | None = None,
        afterwards: bool = False,
    ) -> None:
        """Answer with an error.

        Args:
            status: The HTTP status.
            *errors: The texts of ``errors``.
            times: How many requests fail; None for all until :meth:`heal`.
            path: The start of the paths that fail.
            retry_after: The header ``Retry-After``.
            afterwards: Do what was asked for first.
        """
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        body = json.dumps({"errors": list(errors)}).encode()
        self._faults.append(Fault(path, times, status, body, headers, afterwards=afterwards))

    def slow(self, seconds: float, *, times: int | None = 1, path: str = "") -> None:
        """Answer late, as long as the server is not closed."""
        self._faults.append(Fault(path, times, delay=seconds))

    def drop(self, *, times: int | None = 1, path: str = "", afterwards: bool = False) -> None:
        """Close the connection without an answer; ``afterwards`` means: after doing what was asked for."""
        self._faults.append(Fault(path, times, drop=True, afterwards=afterwards))

    def garble(self, body: bytes = b"<html>", *, status: int = 200, times: int | None = 1, path: str = "") -> None:
        """Answer with something that is not JSON, as a proxy in between does."""
        self._faults.append(Fault(path, times, status, body, {"Content-Type": "text/html"}))

    def heal(self) -> None:
        """Forget every fault."""
        self._faults.clear()

    # -- one request --------------------------------------------------------------------------------------------------

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """Answer one request and write it into the journal; None drops the connection."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        prefix, _, path = unquote(parts.path).strip("/").partition("/")
        full = _join(headers.get("X-Vault-Namespace", ""), path)
        token = headers.get("X-Vault-Token") or headers.get("Authorization", "").removeprefix("Bearer ")
        with self._lock:
            fault = self._fault(path)
            caller = self._tokens.find(token)
        if fault and fault.delay:
            self._closing.wait(fault.delay)
        with self._lock:
            reply: Reply | None = None
            if not fault or fault.afterwards or fault.delay:
                reply = self._reply(method, prefix, full, query, body, caller)
            if fault and fault.drop:
                reply = None
            elif fault and fault.status:
                reply = Reply(fault.status, fault.body or b"", {"Content-Type": "application/json", **fault.headers})
            namespace, below = self._place(full)
            accessor = caller.accessor if caller else ""
            self.journal.append(Request(method, below, namespace, accessor, reply.status if reply else 0))
            return reply

    def _fault(self, path: str) -> Fault | None:
        for fault in self._faults:
            if path.startswith(fault.path):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None

    def _reply(
        self, method: str, prefix: str, full: str, query: dict[str, str], body: bytes, caller: Token | None
    ) -> Reply:
        try:
            if prefix != "v1":
                raise Refusal(404)
            operation = _OPERATIONS.get(method)
            if operation is None or (method == "HEAD" and full != "sys/health"):
                raise Refusal(405, "unsupported operation")
            if operation == "read" and query.get("list") == "true":
                operation = "list"
            if full == "sys/health":
                return self._health(query)
            if full == "sys/seal-status":
                return _json(200, self._seal_status())
            if self._sealed:
                raise Refusal(503, "Vault is sealed")
            if self._standby and self._standby["active"]:
                return Reply(307, b"", {"Location": f"{self._standby['active']}/v1/{full}"})
            return _envelope(self._answer(operation, full, _parsed(body), query, caller))
        except Refusal as refusal:
            more = {"warnings": refusal.warnings} if refusal.warnings else {}
            return _json(refusal.status, {"errors": refusal.errors, **more})

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
        standby = self._standby is not None
        performance = bool(self._standby and self._standby["performance"])
        if self._sealed:
            status = int(query.get("sealedcode", 503))
        elif performance and query.get("perfstandbyok") not in {"", "true"}:
            status = int(query.get("performancestandbycode", 473))
        elif standby and not performance and query.get("standbyok") not in {"", "true"}:
            status = int(query.get("standbycode", 429))
        else:
            status = int(query.get("activecode", 200))
        return _json(
            status,
            {
                "initialized": True,
                "sealed": self._sealed,
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
            "sealed": self._sealed,
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


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refusal(400, "failed to parse JSON input")
    return found


def _json(status: int, body: Any) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _envelope(answer: Answer) -> Reply:
    if answer.status == NOTHING.status:
        return Reply(answer.status, b"", {})
    return _json(
        answer.status,
        {
            "request_id": str(uuid.uuid4()),
            "lease_id": "",
            "renewable": False,
            "lease_duration": answer.lease_duration,
            "data": answer.data,
            "wrap_info": None,
            "warnings": answer.warnings,
            "auth": answer.auth,
        },
    )


def _handler(server: VaultServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = server.handle(self.command, self.path, self.headers, body)  # type: ignore[arg-type]  # a Message
            if reply is None:
                self.close_connection = True
                return
            try:
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else reply.body)
            except ConnectionError:
                self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_LIST = do_PATCH = _serve

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
