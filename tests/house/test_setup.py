"""Set-up on other people's machines: which Python, which tools, what a second call repeats.

The scripts run for real, in a folder with a space in its name; only uv is a fake that notes how it
was called, since a real installation takes minutes and gigabytes (`make test` itself is that test).
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]

# What a bare machine has besides git, make and Python.
TOOLS = (
    "awk basename bash cat chmod cmp cp dirname echo env find git grep head ln make mkdir mv rm "
    "sed sh sleep sort"
)
LEFT_OUT = {"PYTHON", "UV", "MAKEFLAGS", "MAKELEVEL", "MLFLOW_TRACKING_URI", "PORT"}


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """The only folder on PATH: a machine without Python and uv."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in TOOLS.split():
        found = shutil.which(name)
        assert found, f"the test needs {name}"
        (folder / name).symlink_to(found)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with the real scripts and a library and lock of a few bytes."""
    folder = tmp_path / "a check out"
    folder.mkdir()
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.lock").write_text("# one\n")
    (folder / "pyproject.toml").write_text("[project]\nname = 'headstart'\n")
    (folder / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    (folder / ".dvc").mkdir()
    (folder / "src" / "headstart").mkdir(parents=True)
    (folder / "src" / "headstart" / "__init__.py").touch()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


@pytest.fixture
def run(project: Path, tools: Path) -> Run:
    def call(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key not in LEFT_OUT}
        environment |= {"PATH": str(tools)} | variables
        return subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=60
        )

    return call


def python_that_says(path: Path, version: str) -> Path:
    return script(path, f"#!/bin/sh\necho {version}\n")


@pytest.fixture
def uv(tools: Path) -> Path:
    """A uv that makes an environment out of this Python and notes what it was asked for."""
    (tools / "python3").symlink_to(sys.executable)
    return script(
        tools / "uv",
        f"""
        #!/bin/sh
        echo "$*" >> uv.log
        case "$1 $2" in
        "venv "*)
            mkdir -p .venv/bin
            ln -sf "{sys.executable}" .venv/bin/python
            printf '#!/bin/sh\\necho "$*" >> dvc.log\\n' > .venv/bin/dvc
            chmod +x .venv/bin/dvc ;;
        "pip sync")
            [ ! -e slow ] || sleep 1
            [ ! -e fail ] || exit 2 ;;
        esac
        """,
    )


def calls(project: Path) -> list[str]:
    log = project / "uv.log"
    return [" ".join(line.split()[:2]) for line in log.read_text().splitlines()]


INSTALLS = ["pip sync", "pip install"]


def test_python_too_old_ends_with_one_clear_message(run: Run, tools: Path) -> None:
    python_that_says(tools / "python3", "3.10")
    done = run("make", "setup")
    assert done.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert "python3 is 3.10" in done.stderr
    assert "Traceback" not in done.stderr
    assert run("scripts/setup.sh").returncode == 1


def test_python_too_new_is_refused_too(run: Run, tools: Path) -> None:
    python_that_says(tools / "python3", "3.14")
    assert "python3 is 3.14" in run("scripts/setup.sh").stderr


def test_no_python_at_all_is_said(run: Run) -> None:
    assert "Found none" in run("scripts/setup.sh").stderr


def test_python_that_fits_is_found_beside_one_that_does_not(
    run: Run, uv: Path, tools: Path, project: Path
) -> None:
    (tools / "python3").unlink()
    python_that_says(tools / "python3", "3.10")
    script(tools / "python3.13", "#!/bin/sh\necho shim: not found >&2\nexit 127\n")
    python_that_says(tools / "python3.12", "3.12")
    done = run("scripts/setup.sh")
    assert "making .venv with python3.12" in done.stderr


def test_python_asked_for_by_name_is_not_replaced_by_another(
    run: Run, uv: Path, tmp_path: Path
) -> None:
    old = python_that_says(tmp_path / "old python", "3.9")
    done = run("make", "setup", f"PYTHON={old}")
    assert done.returncode != 0
    assert f"{old} is 3.9" in done.stderr


def test_python_without_venv_names_the_package_that_is_missing(run: Run, tools: Path) -> None:
    script(
        tools / "python3",
        """
        #!/bin/sh
        case "$2" in *ensurepip*) exit 1 ;; *) echo 3.12 ;; esac
        """,
    )
    done = run("scripts/setup.sh")
    assert done.returncode == 1
    assert "apt install python3.12-venv" in done.stderr


def test_second_set_up_does_nothing(run: Run, uv: Path, project: Path) -> None:
    first = run("make", "setup")
    assert first.returncode == 0, first.stderr
    assert calls(project) == ["venv --quiet", *INSTALLS]
    second = run("make", "setup")
    assert second.returncode == 0
    assert second.stdout + second.stderr == ""
    assert calls(project) == ["venv --quiet", *INSTALLS]


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_changed_lock_or_project_is_installed_again(
    run: Run, uv: Path, project: Path, name: str
) -> None:
    run("make", "setup")
    with (project / name).open("a") as file:
        file.write("# two\n")
    run("make", "setup")
    assert calls(project) == ["venv --quiet", *INSTALLS, *INSTALLS]


def test_interrupted_set_up_is_mended_by_the_next(run: Run, uv: Path, project: Path) -> None:
    (project / "fail").touch()
    failed = run("make", "setup")
    assert failed.returncode != 0
    assert "package index out of reach" in failed.stderr
    assert not (project / ".venv" / "headstart.stamp").exists()
    (project / "fail").unlink()
    half = project / ".venv" / "half-a-package"
    half.touch()
    assert run("make", "setup").returncode == 0
    assert not half.exists()
    assert run("make", "setup").stderr == ""


def test_two_set_ups_at_once_are_one(run: Run, uv: Path, project: Path) -> None:
    (project / "slow").touch()
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: run("scripts/setup.sh"), range(2)))
    assert [each.returncode for each in done] == [0, 0]
    assert calls(project) == ["venv --quiet", *INSTALLS]


def test_moved_checkout_gets_a_new_environment(
    run: Run, uv: Path, project: Path, tools: Path
) -> None:
    run("make", "setup")
    moved = project.with_name("moved")
    project.rename(moved)
    done = subprocess.run(
        ["scripts/setup.sh"], cwd=moved, env={"PATH": str(tools)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert calls(moved).count("venv --quiet") == 2


def test_bytecode_is_compiled_though_the_environment_forbids_it(
    run: Run, uv: Path, project: Path
) -> None:
    run("make", "setup", PYTHONDONTWRITEBYTECODE="1")
    assert list((project / "src" / "headstart" / "__pycache__").glob("__init__.*.pyc"))
    assert "--compile-bytecode" in (project / "uv.log").read_text()


def test_tree_without_git_is_told_to_dvc_once(run: Run, uv: Path, project: Path) -> None:
    run("make", "setup")
    assert not (project / "dvc.log").exists()
    shutil.rmtree(project / ".git")
    done = run("make", "setup")
    assert "no git repository here" in done.stderr
    assert "config --quiet --local core.no_scm true" in (project / "dvc.log").read_text()
    (project / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    assert run("make", "setup").stderr == ""
    (project / ".git").mkdir()
    assert "a git repository here now" in run("make", "setup").stderr
    assert "--unset core.no_scm" in (project / "dvc.log").read_text()


def test_real_dvc_takes_the_setting_for_trees_without_git(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / ".dvc", tmp_path / ".dvc", ignore=lambda _, names: set(names) - {"config"}
    )
    (tmp_path / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    dvc = Path(sys.executable).with_name("dvc")
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(tmp_path)}
    done = subprocess.run(
        [dvc, "status"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_clean_takes_only_what_can_be_made_again(run: Run, uv: Path, project: Path) -> None:
    kept = [
        "models/mine.keras",
        "mlflow.db",
        ".headstart/study/00/0.npz",
        ".dvc/cache/files/md5/00/11",
        "reports/committed.html",
    ]
    gone = [
        "models/source.keras", "reports/index.html", ".pytest_cache/x", "build/demo/.git/HEAD",
        ".headstart/features/0.npy",
    ]  # fmt: skip
    for name in [*kept, *gone]:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    (project / "models" / ".gitignore").write_text("/source.keras\n")
    (project / "reports" / ".gitignore").write_text("/index.html\n")
    subprocess.run(["git", "add", "-f", "reports"], cwd=project, check=True)
    subprocess.run(["git", "rm", "-q", "--cached", "reports/index.html"], cwd=project, check=True)
    run("make", "setup")
    done = run("make", "clean")
    assert done.returncode == 0, done.stderr
    assert "kept: .dvc/cache" in done.stdout
    assert [name for name in kept if not (project / name).exists()] == []
    assert [name for name in [*gone, ".venv"] if (project / name).exists()] == []


def test_clean_works_without_git(run: Run, project: Path) -> None:
    shutil.rmtree(project / ".git")
    for name in ("models/source.keras", "models/.gitignore", "data/prepared/classes.json"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    assert run("make", "clean").returncode == 0
    assert not (project / "models" / "source.keras").exists()
    assert not (project / "data" / "prepared" / "classes.json").exists()
    assert (project / "models" / ".gitignore").exists()


def test_make_alone_lists_its_targets(run: Run) -> None:
    done = run("make")
    assert done.returncode == 0
    for target in ("setup", "run", "test", "lint", "lock", "ui", "clean"):
        assert f"make {target} " in done.stdout


@pytest.mark.parametrize(
    ("store", "message"),
    [
        ("https://someone:secret@example.org/mlflow", "open https://example.org/mlflow"),
        ("postgresql://someone:secret@example.org/lab", "neither sqlite: nor http(s):"),
        ("", "no lab book yet"),
    ],
)
def test_ui_says_why_it_does_not_open(run: Run, store: str, message: str) -> None:
    done = run("scripts/ui.sh", MLFLOW_TRACKING_URI=store)
    assert done.returncode == 1
    assert message in done.stderr
    assert "secret" not in done.stderr


def test_ui_listens_on_loopback_only(run: Run, project: Path) -> None:
    script(project / ".venv" / "bin" / "mlflow", '#!/bin/sh\necho "$* $MLFLOW_DISABLE_TELEMETRY"\n')
    (project / "mlflow.db").touch()
    done = run("scripts/ui.sh", PORT="5017")
    assert "--backend-store-uri sqlite:///mlflow.db" in done.stdout
    assert "--host 127.0.0.1 --port 5017 --workers 1 true" in done.stdout


def test_every_locked_requirement_has_a_hash() -> None:
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", "")
    requirements = [line for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)]
    assert len(requirements) > 100
    for line in requirements:
        assert re.match(r"[A-Za-z0-9._\[\]-]+==\S+ ", line), line
        assert "--hash=sha256:" in line, line


def test_lock_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "index-url" not in text
    assert "find-links" not in text


def test_committed_files_name_no_package_registry() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("git knows what is committed, and this tree has none")
    # Put together here, or this file would be the first to name them.
    hosts = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"))]
    for host in hosts:
        found = subprocess.run(
            ["git", "grep", "--files-with-matches", "--fixed-strings", host],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert found.stdout == "", f"{host} is named"


def test_shell_scripts_parse() -> None:
    for path in [*(ROOT / "scripts").glob("*.sh"), ROOT / ".ci" / "run"]:
        subprocess.run(["bash", "-n", str(path)], check=True)
        assert os.access(path, os.X_OK), f"{path} cannot be run"


def test_report_opens_what_the_last_run_wrote_or_says_how_to_get_it(
    run: Run, uv: Path, project: Path, tmp_path: Path
) -> None:
    opened = tmp_path / "opened"
    browser = script(tmp_path / "browser", f'#!/bin/sh\nprintf %s "$1" > "{opened}"\n')
    none = run("make", "report", BROWSER=str(browser))
    assert none.returncode != 0
    assert "make report: there is no report yet; make run writes it" in none.stderr
    report = script(project / "reports/index.html", "<title>report</title>")
    done = run("make", "report", BROWSER=str(browser))
    assert done.returncode == 0, done.stderr
    assert f"file://{report}" in done.stdout
    assert opened.read_text(encoding="utf-8") == f"file://{report}"
