"""What several test files share: the real data, and projects that were run once."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest
from projects import AUTHOR, ROOT, SMALL, Project, edit_params, new_checkout

from headstart.core import runtime
from headstart.data import catalogue, download
from headstart.params import reading

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell starts what it runs in the background. The servers that tests start would
    # inherit it, and Ctrl-C could not be tried on them.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Names an author to git, and fixes TensorFlow's threads, which it takes once a process.

    Which files share a process is xdist's affair; what the stages use, they use in their own. The
    process that only hands files to others needs no TensorFlow.
    """
    os.environ |= AUTHOR
    if not config.getoption("numprocesses", None):
        runtime.fix(0, intra_op_threads=1, inter_op_threads=2)


# The files that take longest, as measured (`pytest --durations=0`): begun first, so that both
# workers end at about the same time.
_LONGEST_FIRST = (
    "project/test_source_network.py",
    "study/test_run.py",
    "pipeline/test_experiments.py",
    "pipeline/test_faults.py",
    "project/test_installed.py",
    "study/test_by_fit.py",
    "project/test_init.py",
    "project/test_check.py",
    "study/test_splits.py",
    "study/test_project.py",
    "study/test_project_sources.py",
    "tracking/test_browser.py",
    "study/test_sources.py",
    "study/test_forecast.py",
    "project/test_installed_study.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first."""
    place = {str(ROOT / "tests" / name): at for at, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(str(item.path), len(place)))


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Has layers whose seed a test does not choose begin with the same weights in every run."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published Fashion-MNIST files, from this checkout's data/ or as a user gets them."""
    settings = reading.load(ROOT / "params.yaml")
    folder = tmp_path_factory.mktemp("raw") / "fashion_mnist"
    places = (str(ROOT / "data/raw/fashion_mnist"), *settings.dataset.sources)
    download.download(catalogue.FASHION_MNIST, places, folder, environment=os.environ)
    os.environ["HEADSTART_TEST_RAW"] = str(folder)
    return folder


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Returns a folder that one process of the test run makes and all others use as it is."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    made = root / f"{name}.made"
    with filelock.FileLock(root / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(root / name, ignore_errors=True)
            make(root / name)
            made.touch()
    return root / name


@pytest.fixture(scope="session")
def small(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small project after its first `dvc repro`, committed. Copy it before changing it."""

    def make(folder: Path) -> None:
        project = new_checkout(folder)
        edit_params(project.root / "params.yaml", SMALL)
        project.commit("Shrink")
        project.repro()
        project.commit("Run")

    return Project(once(tmp_path_factory, "small", make))


@pytest.fixture(scope="session")
def recorded(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project with its runs in its store. Copy it to change it."""

    def make(folder: Path) -> None:
        project = Project(small.clone_to(folder).root, recorded=True)
        project.repro("--force", "dvc.yaml")

    return Project(once(tmp_path_factory, "recorded", make), recorded=True)


@pytest.fixture
def project(small: Project, tmp_path: Path) -> Project:
    """A copy of the small project, to change at will."""
    return small.clone_to(tmp_path / "project")


@pytest.fixture(scope="session")
def full(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The committed parameters on the full data, run from an empty cache. Copy it to change it."""

    def make(folder: Path) -> None:
        project = new_checkout(folder)
        project.repro()
        project.commit("Run")

    return Project(once(tmp_path_factory, "full", make))


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the user's settings of headstart and MLflow out of the tests."""
    for key in list(os.environ):
        if key.startswith(("HEADSTART_MIRROR", "MLFLOW_", "DVC_")):
            monkeypatch.delenv(key)
