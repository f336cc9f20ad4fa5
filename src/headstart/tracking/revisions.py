"""The files of a project's states: the workspace, and any commit without checking it out."""

import contextlib
import subprocess
from pathlib import Path

from headstart.core import artefacts
from headstart.core.errors import UserError


class Workspace:
    """The files as they lie on disk under `root`."""

    held_to_schema = True
    """Whether the parameters must be ones that today's library takes."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root

    def read(self, path: str) -> bytes | None:
        """Returns the content of a file, None where there is none."""
        file = self._root / path
        return file.read_bytes() if file.exists() else None

    def md5(self, path: str) -> str | None:
        """Returns the hash of a file, None where there is none."""
        file = self._root / path
        return artefacts.md5(file) if file.exists() else None

    def names(self, folder: str) -> list[str]:
        """Returns the paths of the files right in `folder`, sorted."""
        paths = (self._root / folder).glob("[!.]*")
        return sorted(f"{folder}/{path.name}" for path in paths if path.is_file())


class Revision:
    """The files of one commit, read from git without checking anything out."""

    held_to_schema = False

    def __init__(self, root: Path, rev: str) -> None:
        """Finds the commit.

        Raises:
            UserError: `rev` names no commit, or `root` is in no git repository.
        """
        self._root = root
        commit = git(root, "rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}")
        if commit is None:
            raise UserError(
                f"{rev}: names no commit of the git repository at {root}; "
                "`git branch --all` and `git tag` list what there is"
            )
        self.name = rev
        self.commit = commit.decode().strip()
        full = (git(root, "rev-parse", "--symbolic-full-name", rev) or b"").decode().strip()
        named = full.startswith(("refs/heads/", "refs/remotes/"))
        self.branch = full.split("/", 2)[2] if named else ""

    def read(self, path: str) -> bytes | None:
        """Returns the content of a file, None where there is none."""
        return git(self._root, "show", f"{self.commit}:./{path}")

    def md5(self, path: str) -> str | None:
        """Returns None: what DVC keeps is in git by name only."""
        return None

    def names(self, folder: str) -> list[str]:
        """Returns the paths of the files right in `folder`, sorted."""
        listed = git(self._root, "ls-tree", "-z", "--name-only", self.commit, f"{folder}/")
        return sorted(name for name in (listed or b"").decode().split("\0") if name)


Files = Workspace | Revision


def revisions(root: Path) -> list[Revision]:
    """Returns every branch, here and on remotes, and every tag; of several at one commit the first.

    Raises:
        UserError: `root` is in no git repository.
    """
    places = ("refs/heads", "refs/remotes", "refs/tags")
    listed = git(root, "for-each-ref", "--format=%(refname:short) %(symref)", *places)
    if listed is None:
        raise UserError(f"{root}: is in no git repository; publish the workspace without --all")
    by_commit: dict[str, Revision] = {}
    # A symbolic name such as origin/HEAD stands for another in the list.
    for name, _, symbolic in (line.partition(" ") for line in listed.decode().splitlines()):
        if not symbolic:
            with contextlib.suppress(UserError):  # A tag may name a file.
                revision = Revision(root, name)
                by_commit.setdefault(revision.commit, revision)
    return list(by_commit.values())


def git(root: Path, *arguments: str) -> bytes | None:
    """Returns what a git command prints, None where it fails or git is missing."""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return None if done.returncode else done.stdout
