"""What several test files share: the real data, and projects that were run once."""

import os
import signal
from pathlib import Path

import pytest
from projects import ROOT, SMALL, Project, edit_params, new_checkout

from headstart import catalogue, params, sources

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell starts what it runs in the background. The servers that tests start would
    # inherit it, and Ctrl-C could not be tried on them.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published Fashion-MNIST files, from this checkout's data/ or as a user gets them."""
    settings = params.load(ROOT / "params.yaml")
    folder = tmp_path_factory.mktemp("raw") / "fashion_mnist"
    places = (str(ROOT / "data/raw/fashion_mnist"), *settings.dataset.sources)
    sources.download(catalogue.FASHION_MNIST, places, folder, environment=os.environ)
    os.environ["HEADSTART_TEST_RAW"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def small(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small project after its first `dvc repro`, committed. Copy it before changing it."""
    project = new_checkout(tmp_path_factory.mktemp("small") / "project")
    edit_params(project.root / "params.yaml", SMALL)
    project.commit("Shrink")
    project.repro()
    project.commit("Run")
    return project


@pytest.fixture
def project(small: Project, tmp_path: Path) -> Project:
    """A copy of the small project, to change at will."""
    return small.clone_to(tmp_path / "project")


@pytest.fixture(scope="session")
def full(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The committed parameters on the full data, run from an empty cache."""
    project = new_checkout(tmp_path_factory.mktemp("full") / "project")
    project.repro()
    project.commit("Run")
    return project


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the user's settings of headstart and MLflow out of the tests."""
    for key in list(os.environ):
        if key.startswith(("HEADSTART_MIRROR", "MLFLOW_", "DVC_")):
            monkeypatch.delenv(key)
