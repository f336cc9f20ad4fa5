"""Arms that start from networks from elsewhere: whatever they are, beside those trained here."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from applications_here import write_weights
from studies import data, prepared, values, write_network

from benchmarks import plain_keras
from headstart.core import code
from headstart.core.errors import UserError, WrongValue
from headstart.data import tasks, verify, weights
from headstart.learning import backbones, pretrained
from headstart.study import benches, export, outputs, parameters, run, sources, store

SMALL: dict[str, Any] = {
    "arms": ["baseline", "frozen", "random_frozen"],
    "labels": [10, 40],
    "seeds": 3,
    "training": [{"steps": 20}],
    "learning_rates": [0.01],
    "optimizer": "adam",
}
ONE, TWO = {"from": "models/own/one.keras"}, {"from": "models/own/two.keras", "name": "second"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project's folder with two networks of its own."""
    for seed, name in enumerate(("one", "two")):
        write_network(tmp_path / f"models/own/{name}.keras", seed)
    return tmp_path


@pytest.fixture
def make(raw: Any, root: Path) -> Any:
    """Makes a runner of a small grid; its store is the test's own."""

    def runner(kept: str = "kept", sources: Any = (ONE,), replicas: Any = (), **grid: Any) -> Any:
        ready = prepared(raw, replicas, **SMALL | {"sources": list(sources)} | grid)
        said: list[str] = []
        return run.Runner(ready, store.Store(root / kept, {}), said.append, run.local, root=root)

    return runner


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The networks that a test trains: what of, and seed."""
    names: list[tuple[str, int]] = []
    real = benches.train

    def train(bench: Any, group: Any) -> Any:
        names.extend((group.name, seed) for seed in group.seeds)
        return real(bench, group)

    monkeypatch.setattr(benches, "train", train)
    return names


def files(runner: Any) -> dict[str, tuple[bytes, int]]:
    """What is kept, and when it was written."""
    return {
        file.name: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in runner.store.folder.rglob("*.npz")
    }


def test_every_source_has_its_arms_beside_one_baseline(make: Any) -> None:
    found = make(sources=["trained", ONE, TWO], labels=[40], seeds=2).run()
    assert [own.row.arm for own in found] == [
        "baseline", "frozen", "frozen of one", "frozen of second",
        "random_frozen", "random_frozen of one", "random_frozen of second",
    ]  # fmt: skip
    costs = {own.row.arm: own.cost for own in found}
    # A head on eight features; below it two convolutions of 32 x 32 pixels.
    below = 2 * (15 * 15 * 9 * 6 + 7 * 7 * 9 * 6 * 8)
    frozen, control = costs["frozen of one"], costs["random_frozen of one"]
    assert frozen.trainable_parameters == control.trainable_parameters == 8 + 1
    assert frozen.source_flops == 0
    assert 40 * below < frozen.flops < 40 * below * 1.2
    only = make(kept="other", labels=[40], seeds=2).run()
    arms = ["baseline", "frozen of one", "random_frozen of one"]
    assert [own.row.arm for own in only] == arms
    same = {own.row.arm: own.answers for own in found}
    assert all((own.answers == same[own.row.arm]).all() for own in only)


def test_another_source_trains_only_what_is_new(make: Any, trained: Any) -> None:
    searched = {"learning_rates": [0.01, 0.1], "search_seeds": 2}
    before = make(**searched)
    few = before.run()
    kept = files(before)
    trained.clear()
    more = make(sources=[ONE, TWO], **searched)
    found = {own.row: own for own in more.run()}
    assert {name.rpartition(" of ")[2].partition("/")[0] for name, _ in trained} == {"second"}
    assert kept.items() <= files(more).items()
    assert all((own.answers == found[own.row].answers).all() for own in few)
    assert {own.learning_rate for own in found.values()} <= {0.01, 0.1}


def test_who_trains_together_and_where_it_was_killed_changes_no_byte(
    make: Any, trained: Any
) -> None:
    whole = make(sources=[ONE, TWO])
    whole.run()
    halted = make(kept="halted", sources=[ONE, TWO], replicas={"group_size": 3})
    works = 0

    def killed(runner: Any, todo: Any) -> Any:
        nonlocal works
        for outcome in run.local(runner, todo):
            works += 1
            if works % 3 == 0:
                raise KeyboardInterrupt
            yield outcome

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            dataclasses.replace(halted, engine=killed).run()
    halted.run()
    ours, theirs = files(whole), files(halted)
    assert {name: content for name, (content, _) in ours.items()} == {
        name: content for name, (content, _) in theirs.items()
    }


@pytest.mark.parametrize("arm", ["frozen of one", "random_frozen of one"])
@pytest.mark.parametrize("target", [["sandal", "shirt"], ["sandal", "shirt", "bag"]])
def test_head_is_what_plain_keras_trains_on_features_of_plain_keras(
    make: Any, raw: Any, root: Path, tmp_path: Path, arm: str, target: list[str]
) -> None:
    runner = make(target_tasks=[target], labels=[40])
    (own,) = (cells for cells in runner.run() if cells.row.arm == arm)
    name = f"{'_'.join(target)}/mlp/steps=20/labels=40/{arm}/seed=1"
    export.export(runner, name, tmp_path / "cell.npz")
    with np.load(tmp_path / "cell.npz") as kept:
        cell = dict(kept)
    about = json.loads(str(cell["about"]))
    images = data(raw).parts["train"]
    (question,) = runner.prepared.questions
    part = tasks.cut(images, question.target)
    chosen = part.images[cell["subset"]][..., None] / np.float32(255)
    if not about["untrained"]:
        file = keras.models.load_model(root / "models/own/one.keras")
        below = keras.Model(file.inputs, file.layers[-1].input)
        seen = below.predict(keras.ops.image.resize(chosen, (32, 32)), verbose=0)
        scale = np.sqrt(np.mean(np.square(seen.astype(np.float64))))
        np.testing.assert_allclose(cell["features"], seen / scale, atol=1e-5)
    answers = plain_keras.answers(cell)
    assert (answers == own.answers[1]).mean() > 0.995
    np.testing.assert_array_equal(cell["answers"], own.answers[1])


def test_untrained_network_is_drawn_by_the_seed_and_stays_for_more_labels(
    make: Any, raw: Any, root: Path
) -> None:
    runner = make()
    runner.start()
    groups = [g for g in runner.prepared.groups if g.row.arm == "random_frozen of one"]
    few, many = sorted(groups, key=lambda group: group.row.labels)
    bench = runner.bench(few)
    np.testing.assert_array_equal(bench.on_labels(few, 0), bench.on_labels(many, 0)[:10])
    first, second, _ = bench.on_test(few)
    assert first.shape == (len(bench.data.target_test.labels), 8)
    assert not np.allclose(first, second)
    adopted = pretrained.adopt(
        root / "models/own/one.keras", layer="auto", image_shape=(28, 28)
    ).backbone
    learned = adopted.predict_on_batch(bench.data.target_test.images[:64])
    assert not np.allclose(learned, first[:64])
    copy = backbones.with_head(
        adopted, units=1, activation="sigmoid", head="h", seed=0, trained=False
    )
    statistics = [w for w in copy.weights if "moving" in w.path]
    assert {float(np.mean(w)) for w in statistics} == {0.0, 1.0}


def test_network_in_another_file_of_the_same_name_is_another(root: Path) -> None:
    source = parameters.Source.model_validate(ONE)
    before = sources.about(source, root)
    write_network(root / ONE["from"], seed=5)
    assert sources.about(source, root) != before


def test_all_that_acts_on_what_starts_from_elsewhere_is_in_its_keys() -> None:
    in_keys = store.numeric_code().keys() | sources.acting().keys()
    # Files come verified, and their hash is in the keys, and so is what the table of networks says.
    brings = {"data/apt.py", "data/download.py", "data/verify.py", "data/web.py"}
    brings |= {"core/masking.py", "data/weights.py"}
    # The values of costs, the keys themselves, and digits that are printed.
    tells = {"core/code.py", "core/digits.py", "learning/calls.py", "study/sources.py"}
    for root in ("study/on_features.py", "study/by_fit.py"):
        reached = code.reached(code.LIBRARY / root, idle=store.CANNOT_ACT)
        assert reached - in_keys <= brings | tells


@pytest.mark.parametrize("change", [{"preprocessing": "torch"}, {"options": {"alpha": 0.5}}])
def test_what_the_table_of_published_networks_says_is_in_the_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    name = "MobileNetV2_0.35"
    write_weights(tmp_path / weights.FOLDER, name, size=224)
    source = parameters.Source.model_validate({"from": f"keras:{name}"})
    before = sources.about(source, tmp_path)
    explicit = source.model_copy(update={"input_size": (224, 224), "preprocessing": "tf"})
    assert sources.about(explicit, tmp_path) == before
    changed = dataclasses.replace(weights.NETWORKS[name], **change)
    monkeypatch.setitem(weights.NETWORKS, name, changed)
    assert sources.about(source, tmp_path) != before


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"layer": "deep"}, "layer: .*one.keras has no layer 'deep'"),
        ({"input_size": (8, 8)}, "input_size: .*takes images of 32 x 32 and no others"),
    ],
)
def test_source_that_cannot_be_used_is_refused_before_anything_trains(
    make: Any, trained: Any, change: dict[str, Any], refusal: str
) -> None:
    runner = make(sources=[TWO, ONE | change], labels=[40])
    with pytest.raises(WrongValue, match=f"^sources: one: {refusal}") as refused:
        runner.run()
    assert "source_training" not in str(refused.value)
    assert trained == []


def test_source_that_sees_what_it_was_not_made_for_is_told_once(
    make: Any, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = keras.saving.load_model(root / ONE["from"])
    image = keras.Input((32, 32, 1))
    keras.Model(image, inner(keras.layers.Rescaling(1 / 255)(image))).save(root / ONE["from"])
    make(sources=[ONE | {"preprocessing": "raw"}], labels=[40]).rows()
    assert "warning" not in capsys.readouterr().err
    runner = make(sources=[TWO, ONE], labels=[40])
    runner.rows()
    dataclasses.replace(runner, split=1).rows()
    told = f"warning: sources: one: {root / ONE['from']} takes raw (it divides its input by 255 "
    assert capsys.readouterr().err.count(told) == 1


def test_source_whose_features_say_nothing_is_told(
    make: Any, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = keras.saving.load_model(root / ONE["from"])
    network.layers[0].set_weights([np.zeros_like(w) for w in network.layers[0].get_weights()])
    network.save(root / ONE["from"])
    make(sources=[ONE, TWO], labels=[40]).rows()
    said = capsys.readouterr().err
    assert "sources: one: 100% of the features are nearly constant on the first images" in said
    assert "sources: second" not in said


def test_sources_are_looked_into_only_where_something_of_them_is_missing(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(labels=[40]).run()
    read: list[str] = []
    real = pretrained.adopt_as

    def adopt_as(source: Any, **options: Any) -> Any:
        read.append(source.label)
        return real(source, **options)

    monkeypatch.setattr(pretrained, "adopt_as", adopt_as)
    make(sources=[ONE], labels=[40]).run()
    assert read == []
    make(sources=[ONE, TWO], labels=[40]).rows()
    assert read == ["second"]


def test_features_pass_once_whatever_the_arms_and_budgets(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[int] = []
    real = keras.Model.predict_on_batch

    def counted(model: Any, batch: Any) -> Any:
        passed.append(len(batch))
        return real(model, batch)

    monkeypatch.setattr(keras.Model, "predict_on_batch", counted)
    runner = make()
    runner.run()
    (question,) = runner.prepared.questions
    train, test = (
        math.ceil(len(tasks.cut(runner.prepared.data.parts[part], question.target).labels) / 64)
        for part in ("train", "test")
    )
    # A look at the first, at features and inside; each image once for what was learned; of a
    # seed's own network its 40 labels, and the test.
    assert len(passed) == 2 + train + test + 3 * (1 + test)
    passed.clear()
    make(kept="another store", training=[{"steps": 30}]).run()
    assert passed == []


def test_tables_and_answer_name_the_network(make: Any, tmp_path: Path) -> None:
    runner = make(sources=[ONE, TWO])
    settings = parameters.parse(yaml.safe_dump(values()), "study/params.yaml").statistics
    told = outputs.write(tmp_path / "tables", runner.run(), runner.prepared.grid, settings)
    assert "frozen of" in told[0]
    page = outputs.write_page(tmp_path / "tables", settings).read_text()
    assert "random_frozen of second" in page


def refusal(**grid: Any) -> str:
    text = yaml.safe_dump(values(**SMALL | grid))
    with pytest.raises(UserError) as refused:
        parameters.parse(text, "study/params.yaml")
    return str(refused.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "sources"),
        ([{"from": None}], "write trained in place of the entry"),
        (["trained", "trained"], "each entry once"),
        ([ONE, {"from": "models/own/x.keras", "name": "one"}], "each entry once"),
        ([{"from": "keras:VGG"}], "is not among the published networks"),
        ([{"from": "../x.keras"}], "is neither keras:NAME"),
        ([{"from": "../x.keras"}], "that it changed; copy it there"),
        ([ONE | {"name": " \n"}], "'' is no name; write some letters"),
        ([ONE | {"name": "a\u0000b"}], "is no name; write some letters"),
        ([{"from": "models/team/x.keras"}], "below models/own/, where DVC sees that it changed"),
        ([{"from": "models/pretrained/x.keras"}], "below models/own/, where DVC sees that it"),
        ([ONE | {"layer": ""}], "layer"),
        ([ONE | {"preprocessing": "tf", "input_range": [-1.0, 1.0]}], "input_range"),
        ([ONE | {"cut": "x"}], "cut"),
    ],
)
def test_sources_that_make_no_sense_are_refused_in_one_line(given: Any, said: str) -> None:
    message = refusal(sources=given)
    assert "write null" not in message
    assert said in message
    assert "sources" in message


def test_file_that_is_missing_is_one_message(root: Path) -> None:
    source = parameters.Source.model_validate({"from": "models/own/three.keras"})
    with pytest.raises(UserError, match=r"^sources: three: .*three\.keras is missing; copy it"):
        sources.fetch(source, root)


def test_published_network_comes_verified_from_a_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "MobileNetV2_0.35"
    file = write_weights(tmp_path / "mirror", name, size=96)
    (tmp_path / f"mirror/{file.name}.sha256").write_text(verify.sha256(file))
    monkeypatch.setenv("HEADSTART_MIRROR", str(tmp_path / "mirror"))
    given = {"from": f"keras:{name}", "input_size": [96, 96]}
    source = parameters.Source.model_validate(given)
    sources.fetch(source, tmp_path)
    assert sources.path(source, tmp_path).read_bytes() == file.read_bytes()
    assert sources.path(source, tmp_path).is_relative_to(tmp_path / sources.FETCHED)
    assert "trusted on first use" in capsys.readouterr().err
    # What the download stage brought is taken from there.
    (tmp_path / weights.FOLDER).mkdir(parents=True)
    sources.path(source, tmp_path).rename(tmp_path / weights.FOLDER / file.name)
    assert sources.path(source, tmp_path) == tmp_path / weights.FOLDER / file.name
    wrong = parameters.Source.model_validate(given | {"sha256": "0" * 64, "input_size": [128, 128]})
    with pytest.raises(UserError, match=f"^sources: keras:{name}: "):
        sources.fetch(wrong, tmp_path)


def test_weights_that_are_there_are_verified_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "MobileNetV2_0.35"
    for folder in (weights.FOLDER, sources.FETCHED):
        file = write_weights(tmp_path / folder, name, size=96)
        given = {"from": f"keras:{name}", "input_size": [96, 96]}
        source = parameters.Source.model_validate(given | {"sha256": verify.sha256(file)})
        sources.fetch(source, tmp_path)
        file.write_bytes(file.read_bytes()[:-1] + b"?")
        said = f"^sources: keras:{name}: {folder}/{file.name}: is not .* sha256 here .* remove it"
        with pytest.raises(WrongValue, match=said):
            sources.fetch(source, tmp_path)
        # Where no sum is known there is none to compare.
        sources.fetch(source.model_copy(update={"sha256": None}), tmp_path)
        known = dataclasses.replace(weights.NETWORKS[name], md5="0" * 32)
        with monkeypatch.context() as patch:
            patch.setitem(weights.NETWORKS, name, known)
            with pytest.raises(WrongValue, match="Keras gives"):
                sources.fetch(source.model_copy(update={"sha256": None}), tmp_path)
        file.unlink()
