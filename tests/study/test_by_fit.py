"""Networks from elsewhere that train, whole or their last blocks, as arms of a study."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import studies
import tensorflow as tf
import yaml
from projects import ROOT, clean_environment
from studies import Here, prepared, values

from headstart.core.errors import UserError
from headstart.data import tasks
from headstart.learning import features
from headstart.params.strategies import BASELINE
from headstart.study import (
    benches,
    by_fit,
    export,
    forecast,
    gpu,
    outputs,
    parameters,
    run,
    stopwatch,
    store,
)

L = keras.layers
ARMS = ["finetune", "gradual", "scratch_same", "last:1"]
ONE = {"from": "models/own/one.keras"}
SMALL: dict[str, Any] = {
    "arms": ["baseline", *ARMS],
    "sources": [ONE],
    "labels": [8, 40],
    "seeds": 2,
    "training": [{"steps": 20}],
    "learning_rates": [0.01],
    "optimizer": "adam",
}
# Of the network below, by block, and of a head of one unit.
BLOCKS, HEAD = (6 * 9 + 6 + 12, 6 * 8 * 9 + 8 + 16, 8 * 10 * 9 + 10 + 20), 10 + 1


def write_network(path: Path) -> None:
    """Writes a small convolutional network with batch normalisation, as if it had learned."""
    keras.utils.set_random_seed(1)
    body = []
    for filters in (6, 8, 10):
        body += [L.Conv2D(filters, 3, strides=2), L.BatchNormalization(), L.ReLU()]
    top = [L.GlobalAveragePooling2D(), L.Dense(5, activation="softmax")]
    model = keras.Sequential([keras.Input((32, 32, 1)), *body, *top])
    draw = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.moving_mean.assign(draw.normal(0, 0.2, layer.moving_mean.shape))
            layer.moving_variance.assign(draw.uniform(0.3, 2.0, layer.moving_variance.shape))
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project's folder with a network of its own."""
    write_network(tmp_path / ONE["from"])
    return tmp_path


@pytest.fixture
def make(raw: Any, root: Path) -> Any:
    """Makes a runner of a small grid; its store is the test's own."""

    def runner(kept: str = "kept", replicas: Any = (), **grid: Any) -> run.Runner:
        ready = prepared(raw, replicas, **SMALL | grid)
        return run.Runner(ready, store.Store(root / kept, {}), lambda _: None, run.local, root=root)

    return runner


def files(runner: run.Runner) -> dict[str, bytes]:
    """What is kept."""
    return {file.name: file.read_bytes() for file in runner.store.folder.rglob("*.npz")}


def test_arms_that_train_the_network_have_rows_and_costs(make: Any) -> None:
    found = make(arms=["baseline", "frozen", *ARMS], sources=["trained", ONE]).run()
    arms = list(dict.fromkeys(own.row.arm for own in found))
    # Of the networks that are trained here there is neither the same from scratch nor blocks.
    assert arms == [
        "baseline", "frozen", "frozen of one", "finetune", "finetune of one", "gradual",
        "gradual of one", "scratch_same of one", "last:1 of one",
    ]  # fmt: skip
    costs = {own.row.arm: own.cost for own in found if own.row.labels == 40}
    whole = sum(BLOCKS) + HEAD
    for arm, parameters_ in (
        ("finetune", whole), ("gradual", whole), ("scratch_same", whole),
        ("last:1", BLOCKS[-1] + HEAD), ("frozen", HEAD),
    ):  # fmt: skip
        assert costs[f"{arm} of one"].trainable_parameters == parameters_
        assert costs[f"{arm} of one"].updates == 20
        assert costs[f"{arm} of one"].source_flops == 0
    convolutions = [2 * 15 * 15 * 9 * 6, 2 * 7 * 7 * 9 * 6 * 8, 2 * 3 * 3 * 9 * 8 * 10]
    head, seen = 2 * 10, 20 * 32
    # Nobody computes a gradient of pixels.
    all_layers = seen * (2 * convolutions[0] + 3 * (sum(convolutions[1:]) + head))
    assert costs["finetune of one"].flops == costs["scratch_same of one"].flops == all_layers
    last = seen * (2 * convolutions[2] + 3 * head) + 40 * sum(convolutions[:2])
    assert costs["last:1 of one"].flops == last
    assert all(own.finite.all() for own in found)


class Plain(keras.Model):
    """The network under a new head in plain Keras; `whole` runs its normalisation in training."""

    def __init__(self, file: keras.Model, units: int, *, whole: bool) -> None:
        super().__init__()
        self.below = keras.Model(file.inputs, file.layers[-1].input)
        self.head, self.whole = L.Dense(units), whole

    def call(self, images: Any, training: bool = False) -> Any:
        seen = keras.ops.image.resize(images[..., None], (32, 32))
        return self.head(self.below(seen, training=training and self.whole))


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize(
    ("target", "training"),
    [(["sandal", "shirt"], {"steps": 20}), (["sandal", "shirt", "bag"], {"epochs": 3})],
)
def test_cell_is_what_plain_keras_trains(
    make: Any, raw: Any, root: Path, arm: str, target: list[str], training: Any
) -> None:
    runner = make(target_tasks=[target], labels=[40], training=[training], arms=["baseline", arm])
    (own,) = (cells for cells in runner.run() if cells.row.arm == f"{arm} of one")
    budget = "=".join(map(str, *training.items()))
    name = f"{'_'.join(target)}/mlp/{budget}/labels=40/{arm} of one/seed=1"
    export.export(runner, name, root / "cell.npz")
    with np.load(root / "cell.npz") as kept:
        cell = dict(kept)
    about = json.loads(str(cell["about"]))
    assert about["untrained"] == (arm == "scratch_same")
    file = keras.models.load_model(root / ONE["from"])
    units = 1 if len(target) == 2 else len(target)
    model = Plain(file, units, whole=about["untrained"])
    images = cell["train_images"] / np.float32(255)
    model(images[:1])
    model.below.set_weights([cell[f"weight_{number:02}"] for number in range(18)])
    model.head.set_weights([cell["weight_18"], cell["weight_19"]])
    loss = (
        keras.losses.BinaryCrossentropy(from_logits=True)
        if units == 1
        else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    order = iter(cell["order"])
    weighted = [layer for layer in model.below.layers if layer.weights]
    for updates, layers in about["phases"]:
        train = weighted if layers is None else weighted[len(weighted) - 2 * (layers - 1) :]
        for layer in weighted:
            layer.trainable = layer in train
        model.compile(keras.optimizers.Adam(about["learning_rate"]), loss)
        for _ in range(updates):
            batch = next(order)
            batch = batch[batch >= 0]
            model.train_on_batch(images[batch], cell["train_labels"][batch])
    assert next(order, None) is None
    logits = model.predict(cell["test_images"] / np.float32(255), verbose=0)
    answers = logits[:, 0] > 0 if units == 1 else logits.argmax(axis=1)
    actual = cell["test_labels"]
    np.testing.assert_array_equal(cell["answers"], own.answers[1])
    assert abs(int((answers == actual).sum()) - int(own.right[1].sum())) <= 1
    assert (answers == own.answers[1]).mean() > 0.99


def test_who_trains_together_and_where_it_was_killed_changes_no_byte(make: Any) -> None:
    searched = {
        "arms": ["baseline", "gradual", "scratch_same"],
        "labels": [40],
        "learning_rates": [0.01, 0.1],
        "search_seeds": 1,
    }
    whole = make(**searched)
    whole.run()
    halted = make("halted", {"group_size": 3}, **searched)
    works = 0

    def killed(runner: Any, todo: Any) -> Any:
        nonlocal works
        for outcome in run.local(runner, todo):
            works += 1
            if works == 10:
                raise KeyboardInterrupt
            yield outcome

    with pytest.raises(KeyboardInterrupt):
        dataclasses.replace(halted, engine=killed).run()
    halted.run()
    assert files(whole) == files(halted)


def one_group(runner: run.Runner, arm: str, labels: int) -> Any:
    (group,) = (
        group
        for group in runner.prepared.groups
        if group.row.arm == f"{arm} of one" and group.row.labels == labels
    )
    return group


def test_cells_leave_nothing_for_those_that_follow(make: Any) -> None:
    runner = make()
    runner.start()
    last, gradual = (one_group(runner, arm, 40) for arm in ("last:1", "gradual"))
    alone = benches.train(runner.bench(last), last)
    weights = runner.bench(last).model.get_weights()
    runner = make()
    bench = runner.bench(gradual)
    lost = benches.train(bench, dataclasses.replace(gradual, learning_rate=1e30))
    assert not lost["finite"].any()
    benches.train(bench, one_group(runner, "scratch_same", 8))
    benches.train(bench, dataclasses.replace(last, learning_rate=0.1))
    after = benches.train(bench, last)
    assert alone.keys() == after.keys()
    for name, array in alone.items():
        np.testing.assert_array_equal(after[name], array)
    assert after["finite"].all()
    (one,) = benches.train(bench, last.of([1]))["answers"]
    np.testing.assert_array_equal(one, alone["answers"][1])
    for ours, theirs in zip(bench.model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_arms_of_a_seed_share_head_batches_and_untrained_network(make: Any, raw: Any) -> None:
    runner = make(arms=["baseline", "random_frozen", *ARMS])
    runner.start()
    groups = {arm: one_group(runner, arm, 40) for arm in ("random_frozen", *ARMS)}
    heads = runner.bench(groups["random_frozen"])
    (kernel, bias), spent = heads.initial(1), heads.spent(groups["random_frozen"], 1)
    control = heads.on_labels(groups["random_frozen"], 1)
    places = heads.order(groups["random_frozen"], 1)
    bench = runner.bench(groups["finetune"])
    for arm in ARMS:
        assert runner.bench(groups[arm]) is bench
        bench.start(groups[arm], 1)
        *_, ours, zeros = bench.model.get_weights()
        np.testing.assert_array_equal(ours, kernel)
        np.testing.assert_array_equal(zeros, bias)
        np.testing.assert_array_equal(bench.order(groups[arm], 1), spent[places])
        below = keras.Model(bench.model.inputs, bench.model.layers[-1].input)
        seen = below.predict(bench.data.target_train.images[spent], verbose=0)
        same = arm == "scratch_same"
        assert np.allclose(seen, control, atol=1e-5) == same


def refusal(**grid: Any) -> str:
    text = yaml.safe_dump(values(**SMALL | grid))
    with pytest.raises(UserError) as refused:
        parameters.parse(text, "study/params.yaml")
    return str(refused.value)


@pytest.mark.parametrize("arm", ["scratch_same", "last:2"])
def test_arms_of_networks_from_elsewhere_need_one(arm: str) -> None:
    message = refusal(arms=["baseline", arm], sources=["trained"])
    assert f"grid.arms: '{arm}' is not allowed here" in message
    assert "a network from elsewhere among sources" in message
    assert "\n" not in message


@pytest.mark.parametrize("arm", ["last:0", "last:x", "last:-1", "scratch", 3])
def test_arm_that_is_none_is_refused_with_those_that_are(arm: Any) -> None:
    message = refusal(arms=["baseline", arm])
    assert "'scratch_same' and 'last:N' with N from 1" in message
    assert "\n" not in message


def test_two_phases_need_two_updates() -> None:
    assert "gradual divides them" in refusal(training=[{"steps": 1}])


def test_more_blocks_than_there_are_are_refused_before_anything_trains(make: Any) -> None:
    runner = make(arms=["baseline", "last:3", "last:4"])
    with pytest.raises(UserError, match=r"arms: one: last:4 trains more blocks .* there are 3$"):
        runner.run()
    assert files(runner) == {}
    last = make(arms=["baseline", "last:3", "finetune"], labels=[40]).run()
    answers = {own.row.arm: own.answers for own in last}
    np.testing.assert_array_equal(answers["last:3 of one"], answers["finetune of one"])


def test_time_is_measured_for_every_arm_and_told_for_those_left_out(
    make: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    ready = make(arms=["baseline", *ARMS], learning_rates=[0.01, 0.1], search_seeds=1).prepared
    speeds = stopwatch.speeds(ready)
    spent = forecast.by_arm(ready, speeds)
    assert spent.keys() == {BASELINE, *(f"{arm} of one" for arm in ARMS)}
    assert all(0 < seconds < 600 for seconds in spent.values())
    assert not (root / ".headstart").exists()
    flat = dict.fromkeys(speeds, stopwatch.Speed(step=1.0, network=0.0, first=0.0, features=0.0))
    counted = forecast.by_arm(ready, flat)
    # Two budgets at two rates, and a search on five folds of 8 labels and one of 40.
    assert counted["finetune of one"] == counted["gradual of one"] == 20 * (2 * 2 * 2 + 2 * (5 + 1))
    one_image = dict.fromkeys(speeds, stopwatch.Speed(0.0, 0.0, 0.0, features=1.0))
    answered = forecast.by_arm(ready, one_image)["finetune of one"]
    test = len(tasks.cut(ready.data.parts["test"], ready.questions[0].target).labels)
    assert answered == 2 * 2 * 2 * test + 2 * (8 + 8)


def test_where_there_is_a_gpu_only_networks_that_train_leave_this_process(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"arms": ["baseline", "frozen", "finetune"], "labels": [8]}
    make("here", **asked).run()
    # The other process finds out for itself that there is none.
    monkeypatch.setattr(gpu, "count", lambda: 1)
    apart = make("apart", **asked)
    said: list[str] = []
    apart.say = said.append

    def refusing(*_: Any, **__: Any) -> None:
        raise AssertionError("a network trains in the process of heads")

    with monkeypatch.context() as patch:
        patch.setattr(by_fit, "train", refusing)
        apart.run()
    assert files(make("here")) == files(apart)
    assert sum("on a GPU, which rounds otherwise" in line for line in said) == 1


def test_processes_that_train_nothing_whole_see_no_gpu(
    make: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden: list[Any] = []
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda devices, kind: hidden.append((devices, kind))
    )
    make().start()
    assert hidden == [([], "GPU")]
    monkeypatch.chdir(root)
    # As if there were one, and as if this process were the others.
    monkeypatch.setattr(gpu, "count", lambda: 1)
    ready = make(arms=["baseline", "frozen", "finetune"], labels=[8]).prepared
    asked: list[tuple[set[bool], bool]] = []
    measured = stopwatch._measured

    def noted(own: Any, on_gpu: bool) -> Any:
        seen = len(hidden)
        speeds = measured(own, on_gpu)
        asked.append(({kind.by_fit for kind in speeds}, len(hidden) > seen))
        return speeds

    monkeypatch.setattr(stopwatch, "_measured", noted)
    monkeypatch.setattr(stopwatch, "ProcessPoolExecutor", Here)
    stopwatch.speeds(ready)
    assert asked == [({False}, True), ({True}, False)]


def test_features_take_on_disk_what_was_foretold(
    make: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    runner = make(arms=["baseline", "frozen", "random_frozen", "gradual", "last:1"], labels=[8])
    told = forecast.features_bytes(runner.prepared, stopwatch.speeds(runner.prepared))
    runner.run()
    taken = [file.stat().st_size for file in (root / features.FOLDER).glob("*.npy")]
    # A header of NumPy's and a seal a file.
    assert told == pytest.approx(sum(taken), abs=200 * len(taken))
    assert told > 4 * 10 * 1000


# Enough groups that a third of them is more than the workers begin with.
ON_CLUSTERS = {"arms": ["baseline", *ARMS], "sources": [ONE], "seeds": 3, "optimizer": "sgd"}


@pytest.fixture(scope="module")
def here(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of the local engine."""
    folder = tmp_path_factory.mktemp("local")
    write_network(folder / ONE["from"])
    study, ready = studies.study(**SMALL | ON_CLUSTERS), prepared(raw, **SMALL | ON_CLUSTERS)
    runner = run.Runner(ready, store.Store(folder / "kept", {}), print, run.local, root=folder)
    outputs.write(folder / "tables", runner.run(), study.grid, study.statistics)
    return folder / "tables"


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--kill",), ("--gpus",)])
def test_two_nodes_one_of_which_dies_half_way_give_the_bytes_of_the_local_engine(
    raw: Path, here: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    write_network(tmp_path / ONE["from"])
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values(**SMALL | ON_CLUSTERS)))
    script = ROOT / "tests/support/clusters.py"
    done = subprocess.run(
        [sys.executable, script, raw, tmp_path, tmp_path / "study.yaml", *options],
        env=clean_environment() | {"PYTHONPATH": str(ROOT / "src")},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert ("killed a node" in done.stdout) == ("--kill" in options)
    assert ("one a GPU, of which the cluster has 2" in done.stdout) == ("--gpus" in options)
    assert studies.digests(tmp_path / "tables") == studies.digests(here)
    if "--gpus" in options:
        seen = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
        on_gpu = [(pid, gpus) for name, pid, gpus in seen if name == "_train_on_gpu"]
        others = [(pid, gpus) for name, pid, gpus in seen if name != "_train_on_gpu"]
        assert {gpus for _, gpus in on_gpu} == {"'0'"}
        assert {gpus for _, gpus in others} == {"''"}
        # Each ends with its group.
        assert len({pid for pid, _ in on_gpu}) == len(on_gpu)
        assert not dict(on_gpu).keys() & dict(others).keys()
