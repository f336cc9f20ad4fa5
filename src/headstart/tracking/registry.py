"""The model registry: the target classifier of the committed state, and who is the champion."""

import contextlib
import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Schema, TensorSpec

from headstart import serving
from headstart.core import artefacts, code
from headstart.core.errors import UserError
from headstart.judging import verdict
from headstart.params import reading, yaml_text
from headstart.project import dvc
from headstart.tracking import identity, private, publication, revisions, states
from headstart.tracking.connection import Connection
from headstart.tracking.store import address

NAME = "headstart-target"
CHAMPION = "champion"

# What the served code imports, pinned to what is installed here.
_REQUIREMENTS = ("keras", "mlflow", "numpy", "pydantic", "pyyaml", "tensorflow")
# What tells the library's code in a project of `headstart init`, which has no copy of it.
_LOCK = "headstart.lock"
# Where what git does not know could have changed the model.
_SOURCES = ("src", "stages", _LOCK, "params.yaml", "dvc.yaml", "dvc.lock", "metrics")
_ABOUT = (
    "The target task's classifier, registered by `headstart register`. Takes raw images (uint8, "
    "0 to 255), one or many. The alias `champion` is the one that `make serve` serves."
)


@dataclass(frozen=True)
class Registration:
    """What `register` did: the version, whether it is new, and what became of the alias."""

    version: str
    arm: str
    new: bool
    champion: bool
    reason: str


@dataclass(frozen=True)
class _Candidate:
    """The classifier of the committed state and what is told about it."""

    arm: str
    model: Path
    classes: list[str]
    tags: Mapping[str, str]
    run_id: str
    alpha: float


def register(root: Path, *, force: bool = False) -> Registration:
    """Registers the target classifier of the committed state, once per model hash.

    The alias `champion` moves to it when there is none yet, when it beats the incumbent on the
    test images of this state by the verdict's rule, or with `force`.

    Raises:
        UserError: The state is not committed or not up to date, its comparison is invalid, or
            the store cannot be reached.
    """
    commit = _committed(root)
    state = states.read(revisions.Workspace(root), finished=True)
    arm = verdict.arm_to_serve(str(state.metrics["comparison"]["verdict"]))
    runs = dict(zip(identity.STAGES, publication.publish(root).run_ids, strict=False))
    training = next(run for run in state.trainings.values() if run.stage.arm == arm)
    candidate = _Candidate(
        arm=arm,
        model=root / training.stage.model,
        classes=artefacts.read_json(root / "data/prepared/classes.json")["target"]["names"],
        tags=_tags(root, state, training, arm=arm, commit=commit),
        run_id=runs[training.stage.name],
        alpha=reading.load(root / "params.yaml").evaluate.alpha,
    )
    store = Connection(address(root))
    with store.held():
        client = store.client
        holding = client.search_model_versions(
            f"name='{NAME}' and tags.`headstart.model`='{training.model}'"
        )
        version = min((int(held.version) for held in holding), default=None)
        number = str(version or _add(client, candidate, root))
        moved, reason = _succession(client, candidate, number, root, force=force)
        if moved:
            client.set_registered_model_alias(NAME, CHAMPION, number)
        return Registration(number, arm, version is None, moved, reason)


def _committed(root: Path) -> str:
    """Returns the commit that the workspace is at, all of it.

    Raises:
        UserError: Something is not committed, or the pipeline has not run on what is.
    """
    commit = revisions.git(root, "rev-parse", "--verify", "HEAD")
    if commit is None:
        raise UserError(
            f"{root}: has no git commit, and a registered model names the commit it comes from; "
            "commit the state first (git init, git add, git commit)"
        )
    # Of what git does not know, only code and settings could change a model.
    questions = (["--untracked-files=no"], ["--untracked-files=all", "--", *_SOURCES])
    answers = [revisions.git(root, "status", "--porcelain", *question) for question in questions]
    lines = b"".join(answer or b"" for answer in answers).decode(errors="replace").splitlines()
    if changed := list(dict.fromkeys(line[3:] for line in lines)):
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise UserError(
            f"not committed: {', '.join(changed[:3])}{more}; a registered model names the commit "
            "it comes from. Commit (git add, git commit), then: headstart register"
        )
    # Of the pipeline, not of the study.
    if stale := sorted(json.loads(dvc.run(root, "status", "--json", "dvc.yaml"))):
        raise UserError(
            f"the results are not those of the committed parameters and code ({', '.join(stale)} "
            "would run); run `dvc repro`, commit, then: headstart register"
        )
    return commit.decode().strip()


def _tags(
    root: Path, state: identity.State, training: identity.TrainingRun, *, arm: str, commit: str
) -> dict[str, str]:
    """Returns where the model comes from: model, verdict, data and code."""
    lock = (root / "dvc.lock").read_text(encoding="utf-8")
    stages = yaml_text.written_by_dvc(lock, "dvc.lock")["stages"]
    code_hashes: dict[str, str] = {}
    for entry in stages.values():
        own = [dep for dep in entry["deps"] if dep["path"].startswith(("src/", "stages/"))]
        code_hashes |= {dep["path"]: dep["md5"] for dep in own}
        installed = entry.get("params", {}).get(_LOCK, {})
        code_hashes |= {f"{_LOCK}:{key}": value for key, value in installed.items()}
    return {
        "headstart.model": training.model,
        "headstart.arm": arm,
        "headstart.verdict": str(state.metrics["comparison"]["verdict"]),
        "headstart.training": training.key,
        "headstart.comparison": state.key,
        "headstart.test_accuracy": f"{state.metrics[arm]['accuracy']:.6f}",
        "dataset.name": str(state.params["dataset.name"]),
        # DVC's hash of the published files, and of all that the training read.
        "dataset.version": str(stages["download"]["outs"][0]["md5"]),
        "dataset.training_data": identity.digest(dict(training.data)),
        # The commit, and the hash of all code that the stages depend on.
        "code.commit": commit,
        "code.digest": identity.digest(code_hashes),
    }


def _add(client: Any, candidate: _Candidate, root: Path) -> str:
    """Uploads the model and returns its version in the registry."""
    tags = dict(candidate.tags)
    experiment = client.get_run(candidate.run_id).info.experiment_id
    logged = client.create_logged_model(
        experiment, name=NAME, source_run_id=candidate.run_id, tags=tags
    )
    try:
        with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
            _save(Path(folder), candidate, root, logged)
            client.log_model_artifacts(logged.model_id, f"{folder}/model")
    except BaseException:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(candidate.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    if not client.search_registered_models(f"name='{NAME}'"):
        with contextlib.suppress(MlflowException):  # Another process was faster.
            client.create_registered_model(NAME, description=_ABOUT)
    version = client.create_model_version(
        NAME,
        source=f"models:/{logged.model_id}",
        run_id=candidate.run_id,
        model_id=logged.model_id,
        tags=tags,
        description=f"The {candidate.arm} ({tags['headstart.verdict']}), "
        f"{' or '.join(candidate.classes)}; test accuracy {tags['headstart.test_accuracy']}.",
    )
    return str(version.version)


def _save(folder: Path, candidate: _Candidate, root: Path, logged: Any) -> None:
    """Writes the model to `folder`/model: network, names of the classes, code, signature."""
    images = artefacts.read_array(root / "data/prepared/target/test_images.npy")
    columns = {"class": "string", "label": "long", "probability": "double"}
    answers = [ColSpec(kind, name) for name, kind in columns.items()]
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *images.shape[1:]))]),
        outputs=Schema([*answers, ColSpec(Array(DataType.double), "probabilities")]),
    )
    private.take_input_as_it_comes(signature)
    data = folder / "classifier"
    data.mkdir()
    shutil.copy(candidate.model, data / serving.MODEL_FILE)
    (data / serving.CLASSES_FILE).write_text(json.dumps(candidate.classes) + "\n")
    # The code that trained: the checkout's, else the installed one.
    own = root / "src/headstart"
    mlflow.pyfunc.save_model(
        path=str(folder / "model"),
        loader_module="headstart.tracking.served",
        data_path=str(data),
        code_paths=[str(own if own.is_dir() else code.LIBRARY)],
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
            run_id=candidate.run_id,
        ),
        signature=signature,
        # Raw pixels again: normalising divided them by 255.
        input_example=np.rint(images[:1] * 255).astype(np.uint8),
        pip_requirements=[f"{n}=={importlib.metadata.version(n)}" for n in _REQUIREMENTS],
    )


def _succession(
    client: Any, candidate: _Candidate, version: str, root: Path, *, force: bool
) -> tuple[bool, str]:
    """Tells whether the alias moves to `version`, and why."""
    try:
        incumbent = client.get_model_version_by_alias(NAME, CHAMPION)
    except MlflowException:
        return True, "there was no champion"
    if str(incumbent.version) == version:
        return False, "it is the champion already"
    better, reason = _duel(client, candidate, incumbent, root)
    reason = f"against version {incumbent.version}, the champion so far: {reason}"
    return (True, f"{reason}; moved by --force") if force and not better else (better, reason)


def _duel(client: Any, candidate: _Candidate, incumbent: Any, root: Path) -> tuple[bool, str]:
    """Lets both classify the test images of this state."""
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        try:
            place = mlflow.artifacts.download_artifacts(
                artifact_uri=client.get_model_version_download_uri(NAME, incumbent.version),
                dst_path=folder,
                tracking_uri=client.tracking_uri,
            )
            defender = serving.Classifier.in_folder(Path(place) / "data/classifier")
        except (MlflowException, OSError, UserError) as error:
            return False, (
                f"its files cannot be read ({' '.join(str(error).split())[:200]}); "
                "`headstart register --force` replaces it"
            )
    challenger = serving.Classifier(candidate.model, candidate.classes)
    if (defender.classes, defender.shape) != (challenger.classes, challenger.shape):
        return False, (
            f"it tells apart {', '.join(defender.classes)} in images of {defender.shape}, this one "
            f"{', '.join(challenger.classes)} in images of {challenger.shape}, so the two cannot "
            "be compared; `headstart register --force` replaces it"
        )
    test = artefacts.read_part(root / "data/prepared/target", "test")
    return verdict.succeeds(
        np.asarray(test.labels),
        defender.probabilities(test.images),
        challenger.probabilities(test.images),
        alpha=candidate.alpha,
    )
