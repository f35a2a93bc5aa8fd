"""The key-value engines of the Vault that tests talk to, and what every engine is made of. See :mod:`vault_server`.

Written from Vault's public API documents. What those do not describe is refused, so that no test passes by accident.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

Clock = Callable[[], float]
DEFAULT_LEASE = 768 * 3600
"""Seconds; Vault's default lease, and what KV version 1 says of every secret."""

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+)(s|m|h|d|)")


class Refusal(Exception):
    """An answer with a status of 400 or more.

    Args:
        status: The HTTP status.
        *errors: The texts of ``errors``; without one the list is empty, as for a path that holds nothing.
        warnings: Texts beside the errors.
    """

    def __init__(self, status: int, *errors: str, warnings: list[str] | None = None) -> None:
        super().__init__(status, *errors)
        self.status = status
        self.errors = list(errors)
        self.warnings = warnings


class Call(NamedTuple):
    """A request after routing: the operation (``read``, ``list``, ``write``, ``delete``) on a path below the mount."""

    operation: str
    path: str
    body: Mapping[str, Any]
    query: Mapping[str, str]


class Answer(NamedTuple):
    """What an engine answers; the server puts the envelope around it."""

    data: Any = None
    status: int = 200
    auth: Any = None
    lease_duration: int = 0
    warnings: list[str] | None = None


NOTHING = Answer(status=204)


class Engine(Protocol):
    """What can be mounted."""

    type: str

    def answer(self, call: Call) -> Answer:
        """Answer a call; :class:`Refusal` for anything but success."""

    def holds(self, path: str) -> bool:
        """Whether a write there is an update; else it creates, which is another capability."""


def seconds(value: Any) -> int:
    """Read a duration: a number of seconds, or a text such as ``90``, ``15m``, ``1h30m``."""
    if isinstance(value, int):
        return value
    parts = _DURATION.findall(str(value))
    if "".join(number + unit for number, unit in parts) != str(value):
        raise Refusal(400, f"error converting input {value!r}: not a duration")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def stamp(moment: float) -> str:
    """Write a time as Vault does, or ``""`` for none."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(moment))}.{int(moment % 1 * 1e9):09d}Z" if moment else ""


def keys_below(folder: str, paths: list[str]) -> Answer:
    """Answer a LIST: the names directly below a folder, folders with a slash; a :class:`Refusal` where there are none.

    Args:
        folder: The folder, ``""`` for the whole mount.
        paths: Every path of the mount.
    """
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    found = set()
    for path in paths:
        if path.startswith(prefix):
            name, slash, _ = path[len(prefix) :].partition("/")
            found.add(name + slash)
    if not found:
        raise Refusal(404)
    return Answer({"keys": sorted(found)})


class KVv1:
    """The key-value engine without versions."""

    type = "kv"

    def __init__(self) -> None:
        self._secrets: dict[str, Mapping[str, Any]] = {}

    def holds(self, path: str) -> bool:
        """Whether there is a secret."""
        return path in self._secrets

    def answer(self, call: Call) -> Answer:
        """Read, write, list or delete; a field ``ttl`` becomes the advisory lease."""
        if call.operation == "list":
            return keys_below(call.path, list(self._secrets))
        if call.operation == "write":
            if not call.body:
                raise Refusal(400, "missing data fields")
            self._secrets[call.path] = call.body
            return NOTHING
        if call.operation == "delete":
            self._secrets.pop(call.path, None)
            return NOTHING
        if call.path not in self._secrets:
            raise Refusal(404)
        data = self._secrets[call.path]
        return Answer(data, lease_duration=seconds(data.get("ttl", DEFAULT_LEASE)))


@dataclass
class _Version:
    data: Mapping[str, Any] | None
    created: float
    deleted: float = 0
    destroyed: bool = False


@dataclass
class _Secret:
    created: float
    updated: float
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[int, _Version] = field(default_factory=dict)
    current: int = 0

    @property
    def custom(self) -> Any:
        return self.settings.get("custom_metadata")


class KVv2:
    """The key-value engine with versions.

    Args:
        clock: Gives the time in seconds.
    """

    type = "kv"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._config: dict[str, Any] = {"cas_required": False, "delete_version_after": "0s", "max_versions": 0}
        self._secrets: dict[str, _Secret] = {}

    def holds(self, path: str) -> bool:
        """Whether the secret exists; every other path of this engine only updates."""
        kind, _, rest = path.partition("/")
        return kind != "data" or rest in self._secrets

    def answer(self, call: Call) -> Answer:
        """Dispatch on the first part of the path, which names the kind of access."""
        kind, _, path = call.path.partition("/")
        work = {
            ("config", "read"): lambda: Answer(dict(self._config)),
            ("config", "write"): lambda: self._set_up(call.body),
            ("data", "read"): lambda: self._read(path, int(call.query.get("version", 0))),
            ("data", "write"): lambda: self._write(path, call.body),
            ("data", "delete"): lambda: self._mark(path, None, self._delete),
            ("delete", "write"): lambda: self._mark(path, call.body.get("versions", []), self._delete),
            ("undelete", "write"): lambda: self._mark(path, call.body.get("versions", []), self._undelete),
            ("destroy", "write"): lambda: self._mark(path, call.body.get("versions", []), self._destroy),
            ("metadata", "list"): lambda: keys_below(path, list(self._secrets)),
            ("metadata", "read"): lambda: self._metadata(path),
            ("metadata", "write"): lambda: self._configure(path, call.body),
            ("metadata", "delete"): lambda: self._forget(path),
        }
        if kind not in {known for known, _ in work}:
            raise Refusal(404, warnings=["Invalid path for a versioned K/V secrets engine."])
        if (kind, call.operation) not in work:
            raise Refusal(405, "unsupported operation")
        return work[kind, call.operation]()

    def _set_up(self, body: Mapping[str, Any]) -> Answer:
        self._config.update({name: body[name] for name in self._config if name in body})
        return NOTHING

    def _read(self, path: str, number: int) -> Answer:
        secret = self._secrets.get(path)
        version = secret and secret.versions.get(number or secret.current)
        if secret is None or not version:
            raise Refusal(404)
        gone = version.destroyed or self._is_deleted(version)
        metadata = self._about(version, custom_metadata=secret.custom, version=number or secret.current)
        return Answer({"data": None if gone else version.data, "metadata": metadata}, 404 if gone else 200)

    def _write(self, path: str, body: Mapping[str, Any]) -> Answer:
        if not isinstance(body.get("data"), dict):
            raise Refusal(400, "no data provided")
        secret = self._secrets.get(path)
        self._check_and_set(secret, (body.get("options") or {}).get("cas"))
        now = self._clock()
        if secret is None:
            secret = self._secrets[path] = _Secret(now, now)
        after = min(filter(None, map(seconds, self._both(secret, "delete_version_after"))), default=0)
        secret.current += 1
        secret.updated = now
        version = secret.versions[secret.current] = _Version(body["data"], now, now + after if after else 0)
        kept = next(filter(None, map(int, self._both(secret, "max_versions"))), 10)
        for number in [number for number in secret.versions if number <= secret.current - kept]:
            del secret.versions[number]
        return Answer(self._about(version, custom_metadata=secret.custom, version=secret.current))

    def _check_and_set(self, secret: _Secret | None, cas: int | None) -> None:
        if cas is None:
            if any(self._both(secret, "cas_required")):
                raise Refusal(400, "check-and-set parameter required for this call")
        elif cas != (secret.current if secret else 0):
            raise Refusal(400, "check-and-set parameter did not match the current version")

    def _both(self, secret: _Secret | None, name: str) -> list[Any]:
        """A setting of the secret, then that of the engine."""
        return [secret.settings.get(name, 0) if secret else 0, self._config[name]]

    def _metadata(self, path: str) -> Answer:
        secret = self._secrets.get(path)
        if secret is None:
            raise Refusal(404)
        return Answer(
            {
                "cas_required": False,
                "created_time": stamp(secret.created),
                "current_version": secret.current,
                "custom_metadata": None,
                "delete_version_after": "0s",
                "max_versions": 0,
                "oldest_version": min(secret.versions, default=0) if secret.current > len(secret.versions) else 0,
                "updated_time": stamp(secret.updated),
                "versions": {str(number): self._about(version) for number, version in secret.versions.items()},
                **secret.settings,
            }
        )

    def _configure(self, path: str, body: Mapping[str, Any]) -> Answer:
        names = ("max_versions", "cas_required", "delete_version_after", "custom_metadata")
        now = self._clock()
        secret = self._secrets.setdefault(path, _Secret(now, now))
        secret.settings.update({name: body[name] for name in names if name in body})
        return NOTHING

    def _forget(self, path: str) -> Answer:
        self._secrets.pop(path, None)
        return NOTHING

    def _mark(self, path: str, numbers: list[int] | None, change: Callable[[_Version], None]) -> Answer:
        """Change some versions, or with None the current one; what is not there is no error."""
        if numbers == []:
            raise Refusal(400, "No version number provided")
        if secret := self._secrets.get(path):
            for number in [secret.current] if numbers is None else map(int, numbers):
                if number in secret.versions:
                    change(secret.versions[number])
        return NOTHING

    def _delete(self, version: _Version) -> None:
        if not version.destroyed and not self._is_deleted(version):
            version.deleted = self._clock()

    def _undelete(self, version: _Version) -> None:
        if not version.destroyed:
            version.deleted = 0

    def _destroy(self, version: _Version) -> None:
        version.data, version.destroyed = None, True

    def _is_deleted(self, version: _Version) -> bool:
        return 0 < version.deleted <= self._clock()

    def _about(self, version: _Version, /, **more: Any) -> dict[str, Any]:
        times = {"created_time": stamp(version.created), "deletion_time": stamp(version.deleted)}
        return {**times, "destroyed": version.destroyed, **more}
