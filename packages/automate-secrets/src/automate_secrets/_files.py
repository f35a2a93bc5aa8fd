"""Files that are mounted into a process with a key or a credential in them."""

from __future__ import annotations

import os
import stat

from automate_core.errors import ConfigurationError

__all__ = ["read_file"]

_MOST_BYTES = 64 * 1024
_READ = stat.S_IRGRP | stat.S_IROTH


def read_file(where: str, path: str, *, readers: int = 0) -> str:
    """Read a file that nobody but its owner may read.

    Its group may read it too where root owns it: so does Kubernetes mount secrets for a process that is not root's.

    Args:
        where: Which setting names it, for messages.
        path: The absolute path.
        readers: Which bits of a mode may be set beside those of the owner: ``S_IRGRP`` and ``S_IROTH``.

    Returns:
        Its text.

    Raises:
        ConfigurationError: If it cannot be read, is no plain file, or others have access to it.
    """
    if not os.path.isabs(path):
        raise ConfigurationError(f"{where}: {path!r} is not an absolute path. Write /path/to/the/file.")
    try:
        # What is checked is what is read: the open file, which nobody can exchange for another one. A pipe that
        # nobody writes to would block without O_NONBLOCK.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            _check_mode(where, path, os.fstat(descriptor), readers & _READ)
            return os.read(descriptor, _MOST_BYTES).decode()
        finally:
            os.close(descriptor)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{where}: {path} is no text. A key is written down in base64.") from None
    except OSError as error:
        raise ConfigurationError(
            f"{where}: {path} cannot be read ({type(error).__name__}). Put it where the web and worker processes run, "
            "readable for their user alone."
        ) from error


def _check_mode(where: str, path: str, status: os.stat_result, readers: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{where}: {path} is not a file.")
    if os.name != "posix":
        return
    if status.st_uid == 0:
        readers |= stat.S_IRGRP
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) & ~readers:
        raise ConfigurationError(
            f"{where}: {path} has the mode {stat.S_IMODE(status.st_mode):04o}, so others than its owner have access to "
            f"it. Run: chmod 600 {path} (in Kubernetes: defaultMode: 0400; in Docker Swarm: the uid of the process and "
            "mode: 0400), and consider what is in it as known to them."
        )
