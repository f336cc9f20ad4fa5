"""headstart.lock and the copies of the stages' scripts in a project of `headstart init`."""

import hashlib
from pathlib import Path

import pytest
from own_projects import Own, new

from headstart.project import lock


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Own:
    return new(tmp_path_factory.mktemp("lock") / "project", dataset="digits")


def test_script_that_nobody_edited_follows_an_update(project: Own) -> None:
    script, locked = project.root / "stages/prepare.py", project.root / lock.FILE
    ours = script.read_bytes()
    old = b"# As an older headstart wrote it.\n" + ours
    script.write_bytes(old)
    new, former = (hashlib.sha256(content).hexdigest() for content in (ours, old))
    locked.write_text(locked.read_text().replace(new, former))
    lock.write(project.root)
    assert script.read_bytes() == ours
    assert new in locked.read_text()


def test_edited_script_stays_and_is_told(project: Own, capsys: pytest.CaptureFixture[str]) -> None:
    script = project.root / "stages/transfer.py"
    before = script.read_text()
    script.write_text(before + "# Mine.\n")
    lock.write(project.root)
    assert script.read_text().endswith("# Mine.\n")
    assert "stages/transfer.py: was edited here and stays" in capsys.readouterr().err
    script.write_text(before)
    lock.write(project.root)
    assert "edited" not in capsys.readouterr().err


def test_checkout_of_headstart_has_no_lock(tmp_path: Path) -> None:
    (tmp_path / "src/headstart").mkdir(parents=True)
    lock.write(tmp_path)
    assert not (tmp_path / lock.FILE).exists()
