"""The files of artifacts: where they are, and how they are written and read."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automate_core import settings
from automate_core.errors import ArtifactCorrupt, ArtifactError, ArtifactUnavailable, ConfigurationError
from django.conf import settings as django_settings
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages

from automate.artifacts.reference import UNREAD, Reference, is_marked, stored, unpack

if TYPE_CHECKING:
    from django.core.files.storage import Storage

__all__ = [
    "ALIAS",
    "FOLDER",
    "PrivateStorage",
    "content",
    "default_location",
    "file_name",
    "guarded",
    "in_row",
    "prepare",
    "probe",
    "save",
    "served_below",
    "storage",
]

logger = logging.getLogger("automate.artifacts")

ALIAS = "automate"
"""The entry of Django's ``STORAGES`` that is used where it is defined."""

FOLDER = "artifacts"
_SUFFIX = ".json.gz"
_TRIES = 3


class PrivateStorage(FileSystemStorage):
    """Files that are there whole or not at all, survive a power failure, and are served nowhere.

    Args:
        location: The directory; left out, ``ARTIFACTS.location``.
        file_permissions_mode: Mode of the files; their owner's alone unless given.
        directory_permissions_mode: Mode of the directories; likewise.
        **options: As in Django.
    """

    def __init__(
        self,
        location: str | os.PathLike[str] | None = None,
        *,
        file_permissions_mode: int = 0o600,
        directory_permissions_mode: int = 0o700,
        **options: Any,
    ) -> None:
        super().__init__(
            location=location or default_location(),
            file_permissions_mode=file_permissions_mode,
            directory_permissions_mode=directory_permissions_mode,
            **options,
        )

    def url(self, name: str | None) -> str:
        """Refuse.

        Args:
            name: The file.

        Raises:
            ValueError: Always; the admin shows artifacts to those who may see them.
        """
        raise ValueError("Artifacts have no address.")

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return the name itself: it stands for its content, so what it replaces is the same.

        Args:
            name: The file.
            max_length: Not used.
        """
        return name

    def _save(self, name: str, content: Any) -> str:
        path = Path(self.path(name))
        self._make_folder(path.parent)
        descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, self.file_permissions_mode or 0o600)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        _sync_folder(path.parent)
        return name

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(mode=self.directory_permissions_mode or 0o700, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Let the entries of a folder survive a power failure; Windows knows no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def default_location() -> Path:
    """Return the directory of artifacts where ``STORAGES`` names no storage of theirs.

    Raises:
        ConfigurationError: If nothing says where.
    """
    location = settings.current().artifacts.location
    if location:
        return Path(location)
    base = getattr(django_settings, "BASE_DIR", None)
    if base is None:
        raise ConfigurationError(
            "There is no place for artifacts: set ARTIFACTS.location to a private directory, or define "
            f"STORAGES[{ALIAS!r}]."
        )
    return Path(base) / "automate_artifacts"


def storage() -> Storage:
    """Return the storage of artifacts.

    Raises:
        ConfigurationError: If nothing says where it is.
    """
    if ALIAS in django_settings.STORAGES:
        return storages[ALIAS]
    return _private(default_location())


@cache
def _private(location: Path) -> Storage:
    return PrivateStorage(location)


def served_below(files: Storage) -> str:
    """Return which of Django's served directories a storage writes to; empty for none, or where nobody can tell.

    Args:
        files: The storage.
    """
    if not isinstance(files, FileSystemStorage):
        return ""
    location = Path(files.location)
    for name in ("MEDIA_ROOT", "STATIC_ROOT"):
        root = getattr(django_settings, name, None)
        if root and location.resolve().is_relative_to(Path(root).resolve()):
            return name
    return ""


def file_name(sha256: str) -> str:
    """Return the name of the file of a content, spread over 256 folders.

    Args:
        sha256: Its hash.
    """
    return f"{FOLDER}/{sha256[:2]}/{sha256}{_SUFFIX}"


def probe() -> None:
    """Write a file, read it back and delete it.

    Raises:
        ConfigurationError: If nothing says where artifacts are kept.
        ArtifactUnavailable: If it does not work.
    """
    text = os.urandom(8)
    name = f"{file_name('0' * 64)}.{text.hex()}.tmp"  # a name that is collected, should this process be killed
    files = storage()
    with guarded("write", name):
        name = files.save(name, ContentFile(text))
    with guarded("read", name), files.open(name, "rb") as file:
        found = file.read()
    with guarded("delete", name):
        files.delete(name)
    if found != text:
        raise ArtifactUnavailable("The storage of artifacts does not give back what it is given.")


@contextmanager
def guarded(what: str, name: str) -> Iterator[None]:
    """Turn whatever a storage raises into an error of ours.

    Args:
        what: What was to be done, such as ``"read"``.
        name: The file.

    Raises:
        ArtifactUnavailable: If it did not work.
    """
    try:
        yield
    except (ArtifactError, ConfigurationError):
        raise
    except Exception as error:
        text = f"The storage of artifacts could not {what} {name} ({type(error).__name__}: {error})."
        if what == "read" and isinstance(error, FileNotFoundError):
            text = f"The storage of artifacts has no file {name}. Do all hosts share it, and was all of it restored?"
        raise ArtifactUnavailable(text, context={"file": name}) from error


def content(value: Any) -> Any:
    """Return the value that a column stands for.

    Args:
        value: What a model's field holds: the value itself, or a reference, whose file is read and verified once.

    Returns:
        The value; do not change it.

    Raises:
        ArtifactUnavailable: If the storage does not answer, or has no such file; it may later.
        ArtifactCorrupt: If the file does not hold what was written.
    """
    if type(value) is not Reference:
        return value
    if value.value is UNREAD:
        value.value = _read(value)
    return value.value


def _read(reference: Reference) -> Any:
    name, size = file_name(reference.sha256), reference.size
    with guarded("read", name), storage().open(name, "rb") as file:
        packed = file.read(size + size // 100 + 1024)  # text that cannot be compressed grows by less
    return unpack(packed, reference, name)


def prepare(value: Any, encoded: bytes) -> Any:
    """Do :func:`~automate.artifacts.stored`, and write the file ahead, for what cannot be refused any more.

    What a step did is done: where the storage does not take its result, the row itself holds the large value.

    Args:
        value: As there.
        encoded: As there.

    Returns:
        The value itself, or a reference.

    Raises:
        ArtifactUnavailable: If there is no file, and the value would be taken for a reference in its row.
    """
    column = stored(value, encoded)
    try:
        save(column)
    except (ArtifactUnavailable, ConfigurationError) as error:
        return in_row(column, error)
    return column


def in_row(column: Any, reason: Exception) -> Any:
    """Return what a row itself holds of a value whose file the storage does not take.

    Args:
        column: What :func:`~automate.artifacts.stored` returned.
        reason: Why there is no file.

    Returns:
        The value, however large it is. What came out of a column stays as it is: there is a file, or there was.

    Raises:
        ArtifactUnavailable, ConfigurationError: The reason, if the value would be taken for a reference in its row.
    """
    if type(column) is not Reference or column.packed is None:
        return column
    if is_marked(column.value):
        raise reason
    logger.warning("A value of %s bytes is kept in its row: %s", column.size, reason)
    return column.value


def save(reference: Any) -> None:
    """Write the file of a reference ahead of the transaction, so that this is not kept open for so long.

    Args:
        reference: What :func:`~automate.artifacts.stored` returned. Nothing happens for a small value, nor for a
            reference that came out of a column.

    Raises:
        ArtifactUnavailable: If the file cannot be written.
    """
    if type(reference) is not Reference or reference.packed is None:
        return
    name = file_name(reference.sha256)
    with guarded("write", name):
        if not (reference.is_saved and storage().exists(name)):
            _write(reference, name, reference.packed)


def _write(reference: Reference, name: str, packed: bytes) -> None:
    files = storage()
    for _ in range(_TRIES):
        if files.exists(name):
            if _is_whole(reference, name):
                reference.is_saved = True
                return
            files.delete(name)
        written = files.save(name, ContentFile(packed))
        if written == name:
            reference.is_saved = True
            return
        files.delete(written)  # another writer was faster; look whether it ended well
    raise ArtifactUnavailable(f"The storage of artifacts does not keep {name}.", context={"file": name})


def _is_whole(reference: Reference, name: str) -> bool:
    """Whether an existing file can be used: a storage that writes in place leaves part of one when it is killed."""
    try:
        _read(reference)
    except ArtifactCorrupt as error:
        logger.warning("A damaged file is replaced: %s", error)
        return False
    return True
