"""Errors that the user can mend, and how they reach the terminal."""

import contextlib
import errno
import sys
from collections.abc import Iterator


class UserError(Exception):
    """Says what was wrong, where (file, key, value) and what to do next, in one or two lines."""


class WrongValue(UserError, ValueError):
    """A value that cannot be; who called knows in which file its key stands (`located`)."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key, self.reason = key, reason

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


@contextlib.contextmanager
def located(place: str, **names: str) -> Iterator[None]:
    """Says where a value that is refused stands: at `place`, such as `params.yaml: dataset.`

    `names` are those of its keys that are called otherwise there.
    """
    try:
        yield
    except WrongValue as error:
        raise UserError(f"{place}{names.get(error.key, error.key)}: {error.reason}") from error


_OS_ADVICE = {
    errno.ENOSPC: "free some disk space and run the command again",
    errno.EDQUOT: "free some of your disk quota and run the command again",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f) and run the command again",
    errno.EROFS: "the file system is read-only: mount it writable or work in another folder",
    errno.EACCES: "make it readable and writable for you (chmod, chown) and run the command again",
    errno.EPERM: "make it readable and writable for you (chmod, chown) and run the command again",
}


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turns an error that the user can mend into one message on stderr and exit status 1.

    Any other exception is a bug of ours and keeps its traceback.
    """
    try:
        yield
    except UserError as error:
        message = str(error)
    except OSError as error:
        if error.errno not in _OS_ADVICE:
            raise
        where = f": {error.filename}" if error.filename else ""
        message = f"{error.strerror}{where}; {_OS_ADVICE[error.errno]}"
    except KeyboardInterrupt:
        message = "interrupted; nothing half-written is left, run the command again to go on"
    else:
        return
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(1)


def warn(message: str) -> None:
    """Prints a warning that does not stop the run but must be seen."""
    sys.stdout.flush()
    print(f"warning: {message}", file=sys.stderr, flush=True)
