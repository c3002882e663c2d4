"""Chooses the user that the embedded PostgreSQL runs as.

The server refuses to run as root, so root starts it as another user. That user must be able to
reach the data and the server's programs. If not, the start is refused. Jossiedb never changes the
permissions of directories that it did not make.
"""

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.platform.errors import StartupError

_CREATED = "embedded_postgres"
_ENTER = 0o1
_READ_AND_ENTER = 0o5


@dataclass(frozen=True, slots=True)
class Account:
    """The user that the server runs as. `switch` is set if this process runs as root, and so must
    start the server as another user."""

    name: str
    uid: int
    gid: int
    switch: bool

    def subprocess_arguments(self) -> dict[str, Any]:
        """Arguments for subprocess that run a program as this user, without the groups of the
        present user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    def give(self, path: Path) -> None:
        """Make the user the owner of `path`, which this process has just created."""
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def may(self, path: Path, bits: int) -> bool:
        """Whether the permissions of `path` itself grant the user `bits`: 4 to read, 1 to enter or
        execute, or their sum."""
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return (status.st_mode >> shift) & bits == bits


def choose(cluster: Path) -> Account:
    """The user that the server of the cluster in this directory runs as. Raises StartupError.

    If the cluster exists, that is its owner. Otherwise it is the user of this process. If that is
    root, it is `postgres`, or else a system user that is made for this.
    """
    owner = cluster.stat().st_uid if cluster.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner != os.geteuid():
            raise StartupError(
                f"{cluster} belongs to {_name(owner)}; run as that user, or set JOSSIEDB_DATA_DIR elsewhere"
            )
        return Account(_name(os.geteuid()), os.geteuid(), os.getegid(), switch=False)
    if owner:
        try:
            return _switch_to(pwd.getpwuid(owner))
        except KeyError:
            raise StartupError(
                f"{cluster} belongs to user id {owner}, which does not exist; chown it to one that does"
            ) from None
    for name in ("postgres", _CREATED):
        try:
            return _switch_to(pwd.getpwnam(name))
        except KeyError:
            continue
    return _switch_to(_create())


def check_enter(account: Account, directory: Path) -> None:
    """Raises StartupError if the user cannot enter `directory`. The error names the directory on
    the path that the user may not enter."""
    if not account.switch:
        return
    for step in (directory, *directory.parents):
        if not account.may(step, _ENTER):
            raise StartupError(
                f"PostgreSQL does not run as root, and user {account.name}, under whom it would run, may not enter {step}: "
                "run as an ordinary user, or set JOSSIEDB_DATA_DIR to a place that other users may enter, such as under /srv "
                "or /var/lib, or set DATABASE_URL"
            )


def check_programs(account: Account, bin_dir: Path) -> None:
    """Raises StartupError if the user cannot use the server's programs and the files that they
    load."""
    if not account.switch:
        return
    needed = [(step, _ENTER) for step in (bin_dir, *bin_dir.parents)]
    needed += [(bin_dir / program, _READ_AND_ENTER) for program in ("postgres", "initdb")]
    needed += [(bin_dir.parent / name, _READ_AND_ENTER) for name in ("lib", "share")]
    for path, bits in needed:
        if path.exists() and not account.may(path, bits):
            raise StartupError(
                f"PostgreSQL does not run as root, and user {account.name}, under whom it would run, may not use {path}, "
                "on the way to the server's programs: run as an ordinary user, or move the checkout with its .venv to a place "
                "that other users may enter, such as under /srv or /var/lib, or set DATABASE_URL"
            )


def open_ours(path: Path, flags: int) -> int:
    """Opens a file in the data directory, and returns its descriptor. Raises StartupError.

    A missing file is made with mode 0600. If this process is root, the directory's owner becomes
    the owner of the file.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if os.geteuid() == 0:
            directory = path.parent.stat()
            os.fchown(descriptor, directory.st_uid, directory.st_gid)
    except OSError as error:
        raise StartupError(
            f"{path} cannot be opened: {error.strerror}; run as its owner, or set JOSSIEDB_DATA_DIR"
        ) from None
    return descriptor


def make_enterable(directory: Path) -> None:
    """Make `directory` if it is missing. The server's user can pass through it, even if the umask
    would not allow that. Raises StartupError."""
    try:
        if not directory.exists():
            directory.mkdir(parents=True)
            directory.chmod(0o711)
    except OSError as error:
        raise StartupError(f"{directory} cannot be made: {error.strerror}; set JOSSIEDB_DATA_DIR elsewhere") from None


def make_private(account: Account, directory: Path) -> None:
    """Make `directory` if it is missing, give it mode 0700, and make the user its owner. Raises
    StartupError if it belongs to somebody else or is a link."""
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {account.uid, os.geteuid()}:
        raise StartupError(
            f"{directory} is not {account.name}'s directory; remove it, or set JOSSIEDB_DATA_DIR to a shorter path"
        )
    directory.chmod(0o700)
    account.give(directory)


def _switch_to(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)


def _create() -> pwd.struct_passwd:
    command = [
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
        "--shell",
        "/bin/false",
    ]
    try:
        subprocess.run([*command, _CREATED], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return pwd.getpwnam(_CREATED)
    except (OSError, KeyError, subprocess.CalledProcessError) as error:
        why = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        raise StartupError(
            f"PostgreSQL does not run as root, and a user for it could not be made (useradd {_CREATED}: {why}); "
            "run as an ordinary user, or set DATABASE_URL"
        ) from None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
