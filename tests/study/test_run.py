import csv
import dataclasses
import importlib.metadata
import json
import math
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from projects import edit_params
from studies import data, digests, prepared, study, write_parameters

from benchmarks import plain_keras
from headstart.core import runtime
from headstart.core.code import hash_of
from headstart.core.errors import UserError
from headstart.study import cells, export, outputs, plan, run, store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def make(raw: Any, tmp_path: Any) -> Any:
    """Makes a runner of a small grid; its store is the test's own."""

    def runner(
        folder: Any = tmp_path / "kept", said: Any = None, replicas: Any = (), **grid: Any
    ) -> Any:
        said = [] if said is None else said
        ready = prepared(raw, replicas, **grid)
        return run.Runner(ready, store.Store(folder, {}), said.append, run.local)

    return runner


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The networks that a test trains, source networks too: what of, and seed."""
    names: list[tuple[str, int]] = []
    real, real_sources = cells.train, cells.train_sources

    def train(bench: Any, group: Any) -> Any:
        names.extend((group.row.name, seed) for seed in group.seeds)
        return real(bench, group)

    def train_sources(group: Any, *others: Any) -> Any:
        names.extend((f"source of {group.question.name}", seed) for seed in group.seeds)
        return real_sources(group, *others)

    monkeypatch.setattr(cells, "train", train)
    monkeypatch.setattr(cells, "train_sources", train_sources)
    return names


def files(runner: Any) -> dict[str, tuple[bytes, int]]:
    """What is kept, and when it was written."""
    return {
        file.name: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in runner.store.folder.rglob("*.npz")
    }


def answers(found: Any) -> Any:
    return {one.row: one.answers for one in found}


SMALL: dict[str, Any] = {
    "arms": ["baseline", "frozen"], "labels": [10, 40], "seeds": 10, "training": [{"steps": 20}]
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "new", "sources"),
    [
        ({"seeds": 20}, 40, 10),
        ({"seeds": 11}, 4, 1),
        ({"labels": [10, 20, 40]}, 20, 0),
        ({"arms": ["baseline", "frozen", "gradual"]}, 20, 0),
    ],
)
def test_what_is_added_is_trained_and_what_was_there_stays(
    make: Any, trained: Any, tmp_path: Any, change: Any, new: int, sources: int
) -> None:
    small = make(**SMALL)
    before = answers(small.run())
    assert len(trained) == 40 + 10
    kept = files(small)
    assert len(kept) == 40 + 10
    trained.clear()
    grown = make(**SMALL | change).run()
    assert len(trained) == len(set(trained)) == new + sources
    assert sum(name.startswith("source") for name, _ in trained) == sources
    assert kept.items() <= files(small).items()
    whole = answers(make(folder=tmp_path / "other", **SMALL | change).run())
    assert [one.row for one in grown] == list(whole)
    assert all((one.answers == whole[one.row]).all() for one in grown)
    assert all((one == whole[row][:10]).all() for row, one in before.items())


def test_finished_study_trains_nothing(make: Any, monkeypatch: Any) -> None:
    make(arms=["baseline"]).run()
    monkeypatch.setattr(cells, "train", None)
    make(arms=["baseline"]).run()


def test_damaged_network_is_trained_again(make: Any, trained: Any) -> None:
    grid: dict[str, Any] = SMALL | {"labels": [10], "seeds": 3}
    runner = make(**grid)
    before = answers(runner.run())
    first, second, third, *_ = sorted(runner.store.folder.rglob("*.npz"))
    first.write_bytes(first.read_bytes()[:300])
    second.write_bytes(b"")
    content = bytearray(third.read_bytes())
    content[150] ^= 1
    third.write_bytes(content)
    trained.clear()
    after = answers(make(**grid).run())
    assert len(trained) == len(set(trained)) <= 3
    assert all((before[row] == after[row]).all() for row in before)


def test_no_flipped_bit_makes_another_network_of_what_is_kept(tmp_path: Path) -> None:
    kept = store.Store(tmp_path, {})
    arrays = {"answers": np.arange(9, dtype=np.uint8), "finite": np.array(True)}
    kept.keep("key", arrays)
    (path,) = tmp_path.rglob("*.npz")
    content, damaged = path.read_bytes(), 0
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        read = kept.read("key")
        damaged += read is None
        if read is not None:
            assert read.keys() == arrays.keys()
            assert all((read[name] == arrays[name]).all() for name in arrays)
    # Some say nothing, such as the dates.
    assert damaged > 4 * len(content)


def test_failing_group_is_named_the_rest_goes_on_and_is_kept(make: Any, monkeypatch: Any) -> None:
    real = cells.train
    said: list[str] = []

    def train(bench: Any, group: Any) -> Any:
        if group.row.labels == 40 and group.row.arm == "frozen":
            raise RuntimeError("the cat sat on it")
        return real(bench, group)

    monkeypatch.setattr(cells, "train", train)
    grid = {"arms": ["baseline", "frozen"], "training": [{"steps": 5}], "seeds": 2}
    with pytest.raises(UserError) as caught:
        make(said=said, **grid).run()
    assert "1 of 7 groups are missing" in str(caught.value)
    assert "sandal_shirt/mlp/steps=5/labels=40/frozen" in str(caught.value)
    assert "the cat sat on it" in str(caught.value)
    monkeypatch.setattr(cells, "train", real)
    said.clear()
    assert len(make(said=said, **grid).run()) == 6
    assert said[0] == "12 trainings, 10 done already, 2 to do in 1 groups"


def test_arms_share_what_they_must(make: Any) -> None:
    runner = make()
    groups = {g.row.arm: g for g in runner.prepared.groups if g.row.labels == 40}
    runner.start()
    bench = runner.bench(groups["baseline"])
    made = {arm: bench.weights(group) for arm, group in groups.items()}
    for weights in made.values():
        assert (weights[-2] == made["baseline"][-2]).all()
    for own, other in zip(made["baseline"], made["random_frozen"], strict=True):
        assert (own == other).all()
    for arm in ("finetune", "gradual"):
        for own, other in zip(made["frozen"], made[arm], strict=True):
            assert (own == other).all()
    assert (made["frozen"][0] != made["baseline"][0]).any()
    assert (made["baseline"][0][0] != made["baseline"][0][1]).any()


def test_diverged_cell_is_a_result_and_counted(make: Any) -> None:
    found = make(arms=["baseline"], labels=[40], learning_rates=[1000.0]).run()
    assert not found[1].finite.all()
    assert found[1].degenerate[~found[1].finite].all()
    assert np.isfinite(found[1].accuracies).all()


SEARCHED: dict[str, Any] = {
    "arms": ["baseline", "frozen", "gradual"],
    "labels": [10, 40],
    "seeds": 6,
    "training": [{"steps": 30}],
    "learning_rates": [1e-6, 0.01, 0.1],
}


def test_every_row_is_trained_on_all_its_labels_at_the_rate_that_its_search_chose(
    make: Any, trained: Any
) -> None:
    said: list[str] = []
    runner = make(said=said, **SEARCHED)
    found = runner.run()
    # Three rates on five seeds: one training with 40 labels, five folds with 10, for three arms.
    search = 3 * 5 * (1 + 5) * 3
    sources = [name for name, _ in trained if name.startswith("source")]
    # The source's rate is searched too; the rate of its settings is one of the list here.
    assert len(sources) == 3 * 5 + len({0.01, found[-1].source_learning_rate})
    searches = [line for line in said if line.startswith("search of learning rates: ")]
    assert [int(line.split()[4]) for line in searches] == [3 * 5, search]
    for one in found:
        assert one.learning_rate in (0.01, 0.1)
        assert one.rate_at_edge == (one.learning_rate == 0.1)
        assert one.accuracies.shape == (6,)
        assert one.cost.search_updates == 3 * 5 * 30 * (5 if one.row.labels == 10 else 1)
        assert one.cost.search_flops > 0
        assert math.isnan(one.source_learning_rate) == (one.row.arm == "baseline")
    # What is trained at the end knows nothing of the search.
    for one in found:
        rates = {"learning_rates": [one.learning_rate]}
        if one.row.arm == "baseline":
            alone = make(**SEARCHED | rates | {"arms": ["baseline"], "labels": [one.row.labels]})
            trained.clear()
            assert (alone.run()[0].answers == one.answers).all()
            assert trained == []
    unsearched = runner.unsearched()
    assert {one.learning_rate for one in unsearched} == {0.01}
    trained.clear()
    plain = make(**SEARCHED | {"learning_rates": [0.01]}).run()
    assert trained == []
    for one, other in zip(plain, unsearched, strict=True):
        assert (one.answers == other.answers).all()
        assert one.cost.search_updates == one.cost.search_flops == 0
        assert not one.rate_at_edge


def test_order_of_the_rates_and_more_seeds_change_no_byte_of_a_search(
    make: Any, trained: Any
) -> None:
    # Fewer seeds than the five of the search.
    grid = SEARCHED | {"arms": ["baseline", "frozen"], "seeds": 3}
    runner = make(**grid)
    before = {one.row: one for one in runner.run()}
    kept = files(runner)
    trained.clear()
    again = make(**grid | {"learning_rates": [0.1, 1e-6, 0.01]}).run()
    assert trained == []
    assert files(runner) == kept
    for one in again:
        assert one.learning_rate == before[one.row].learning_rate
        assert (one.answers == before[one.row].answers).all()
    grown = make(**grid | {"seeds": 8}).run()
    assert not [name for name, _ in trained if "validates" in name], "no search again"
    assert {seed for name, seed in trained if not name.startswith("source")} == set(range(3, 8))
    assert kept.items() <= files(runner).items()
    for one in grown:
        assert one.learning_rate == before[one.row].learning_rate
        assert one.source_learning_rate == before[one.row].source_learning_rate or (
            one.row.arm == "baseline"
        )
        assert (one.answers[:3] == before[one.row].answers).all()


def test_search_sees_no_test_image_and_no_label_that_validates(make: Any) -> None:
    runner = make(**SEARCHED | {"seeds": 2})
    runner.start()
    grid = runner.prepared.grid
    for row in runner.prepared.groups:
        bench = runner.bench(row)
        for group in plan.search(row, grid):
            assert group.training_labels + group.validation_labels == row.row.labels
            trains = set(bench.chosen(group, 0))
            assert set(bench.order(group, 0).ravel()) - {plan.EMPTY} <= trains
            validates = bench.validating(group, 0)
            assert trains.isdisjoint(validates)
            assert trains | set(validates) == set(bench.subset(0)[: row.row.labels])
        blind = dataclasses.replace(bench, data=dataclasses.replace(bench.data, target_test=None))
        (loss,) = cells.train(blind, group).values()
        assert loss.shape == (5, group.validation_labels)
        assert (loss == cells.train(bench, group)["losses"]).all()


def test_losses_are_those_of_the_probabilities_cut_at_a_millionth() -> None:
    one_unit = np.array([[[0.25], [1.0], [0.0], [np.nan]]], dtype=np.float32)
    losses = cells._log_losses(one_unit, np.array([[1, 0, 0, 1]]))
    expected = [-math.log(0.25), -math.log(1e-6), -math.log(1 - 1e-6), math.nan]
    np.testing.assert_allclose(losses, [expected], rtol=1e-12)
    three = np.array([[[0.2, 0.3, 0.5]]], dtype=np.float32)
    np.testing.assert_allclose(cells._log_losses(three, np.array([[1]])), -np.log(three[:, :, 1]))


def test_sources_rate_is_chosen_on_its_validation_images(make: Any) -> None:
    runner = make(**SEARCHED | {"seeds": 2, "arms": ["baseline", "frozen"], "labels": [40]})
    found = runner.run()
    row = runner.prepared.groups[1]
    losses = {}
    for group in plan.source_search(row.source, runner.prepared.grid):
        kept = [runner.store.read(key)["losses"] for key in runner.keys(group)]
        valid = np.isin(runner.prepared.data.parts["valid"].labels, row.question.source.numbers)
        assert all(len(own) == valid.sum() for own in kept)
        losses[group.learning_rate] = np.mean(kept)
    assert found[1].source_learning_rate == min(losses, key=lambda rate: losses[rate])
    # Other images that validate are another search, and no other target network.
    before = runner.keys(row), runner.keys(group)
    parts = runner.prepared.data.parts
    moved = parts | {
        "valid": dataclasses.replace(parts["valid"], labels=parts["valid"].labels[::-1])
    }
    runner = make(**SEARCHED | {"seeds": 2, "arms": ["baseline", "frozen"], "labels": [40]})
    runner.prepared = dataclasses.replace(
        runner.prepared, data=dataclasses.replace(runner.prepared.data, parts=moved)
    )
    assert runner.keys(row) == before[0]
    assert set(runner.keys(group)).isdisjoint(before[1])


def test_row_at_the_rate_of_no_search_is_trained_from_both_sources(make: Any) -> None:
    # No source is chosen at the rate that it has without a search; nothing learns at the higher.
    source = {"epochs": 1, "batch_size": 32, "optimizer": "sgd", "learning_rate": 0.02}
    runner = make(
        **SMALL | {"search_seeds": 2, "learning_rates": [0.01, 500.0], "source_training": source}
    )
    found = runner.run()
    unsearched = runner.prepared.groups
    frozen = [row for row in zip(found, unsearched, strict=True) if row[0].row.arm == "frozen"]
    assert all(chosen.learning_rate == group.learning_rate for chosen, group in frozen)
    assert all(chosen.source_learning_rate == 0.01 for chosen, _ in frozen)
    assert all(group.source_learning_rate == 0.02 for _, group in frozen)


def test_source_that_two_shifts_share_is_searched_and_trained_once(make: Any) -> None:
    said: list[str] = []
    runner = make(
        said=said,
        **SEARCHED
        | {"seeds": 2, "search_seeds": 2, "arms": ["baseline", "frozen"]}
        | {"labels": [40], "shifts": [0, 2]},
    )
    rows = runner.run()
    assert [row.row.shift for row in rows] == [0, 0, 2, 2]
    assert rows[1].source_learning_rate == rows[3].source_learning_rate
    # Three rates of two seeds, for each shift: half of them are the other half.
    assert "12 trainings, 6 done already, 6 to do in 3 groups" in said[0]


def test_too_little_memory_is_refused_before_anything_trains(make: Any, monkeypatch: Any) -> None:
    import psutil

    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10_000_000})
    )
    with pytest.raises(UserError, match="GB of memory"):
        make()


def test_kept_networks_are_known_by_all_that_acts_on_them_and_by_nothing_else(make: Any) -> None:
    base = make()
    keys = {key for group in base.prepared.groups for key in base.keys(group)}
    assert len(keys) == base.prepared.cells, "by their seeds, too"
    group = base.prepared.groups[0]
    keys = {*base.keys(group)[:1]}
    for change in ({"batch_size": 16}, {"optimizer": "adam"}, {"learning_rates": [0.02]}):
        other = make(**change)
        keys |= {*other.keys(other.prepared.groups[0])[:1]}
    assert len(keys) == 4
    for same in ({"seeds": 7}, {"replicas": {"group_size": 3, "threads": 1}}):
        other = make(**same)
        assert other.keys(other.prepared.groups[0])[:4] == base.keys(group)


def test_kept_networks_are_known_by_the_machine_and_the_libraries(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = data(raw)

    def key(instructions: str = "avx2") -> str:
        return store.Store(Path(), store.common(images, instructions=instructions)).key({})

    keys = [key()]
    # Native bytes are another processor's as soon as it offers other instructions.
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "_PROCESSOR", tmp_path / "cpuinfo")
        for flags in ("fma avx avx2", "fma avx avx2 avx512f amx_tile"):
            (tmp_path / "cpuinfo").write_text(f"model name: made up\nflags\t: sse {flags}\n")
            assert key() == keys[0]
            keys.append(key("native"))
    for module, name, value in (
        (importlib.metadata, "version", "0"),
        (platform, "machine", "arm64"),
        (store, "numeric_code", {}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda *_, value=value: value)
            keys.append(key())
    images.parts["train"].labels[0] += 1
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_comments_and_docstrings_do_not_make_finished_groups_worthless() -> None:
    code = 'def f(x):\n    """Says what."""\n    return x + 1\n'
    same = "def f(x):\n    # Why.\n    'Other words.'\n\n    return x + 1\n"
    assert hash_of(code) == hash_of(same)
    assert hash_of(code) != hash_of(code.replace("1", "2"))


def test_ten_random_cells_trained_by_keras_give_our_accuracy(make: Any, tmp_path: Any) -> None:
    runner = make()
    runner.run()
    names = sorted(
        f"{group.row.name}/seed={seed}" for group in runner.prepared.groups for seed in group.seeds
    )
    # Two of every arm, from budgets that train in their span and from all labels.
    draw = random.Random(6)
    for arm in runner.prepared.grid.arms:
        for name in draw.sample([one for one in names if f"/{arm}/" in one], 2):
            export.export(runner, name, tmp_path / "cell.npz")
            with np.load(tmp_path / "cell.npz") as file:
                kept = dict(file)
            theirs = plain_keras.answers(kept)
            right = [int((one == kept["test_labels"]).sum()) for one in (theirs, kept["answers"])]
            assert abs(right[0] - right[1]) <= 1, name
            assert (theirs != kept["answers"]).sum() <= 1, name
            assert set(kept["order"].ravel()) - {-1} == set(kept["subset"]), name


def test_cells_that_the_grid_has_not_are_refused(make: Any) -> None:
    runner = make(seeds=3)
    with pytest.raises(UserError, match="no such cell"):
        export.find(runner.prepared, "sandal_shirt/mlp/epochs=2/labels=40/baseline/seed=3")
    group, seed = export.find(
        runner.prepared, "sandal_shirt/mlp/epochs=2/labels=40/baseline/seed=2"
    )
    assert seed in group.seeds


def test_tables_begin_with_the_columns_of_the_issue_and_agree_with_the_cells(
    make: Any, tmp_path: Any
) -> None:
    runner = make(arms=["baseline", "frozen", "gradual"])
    settings = study().statistics
    said = outputs.write(tmp_path / "out", runner.run(), runner.prepared.grid, settings)
    assert said[0].startswith("In short: with few labels (up to 100) ")
    assert said[1].startswith("sandal and shirt (mlp, 2 epochs):\n  With 10 to 40 labels ")
    with (tmp_path / "out/summary.csv").open() as file:
        header = file.readline()
        assert header.startswith(
            "task,network,training,labels,arm,seeds,mean,std,low,high,gain,gain_low,gain_high,"
            "wins,degenerate,"
        )
        rows = list(csv.DictReader(file, fieldnames=header.strip().split(",")))
    with (tmp_path / "out/cells.csv").open() as file:
        all_cells = list(csv.DictReader(file))
    assert len(rows) == 18
    assert len(all_cells) == 72
    for row in rows:
        own = [
            float(cell["accuracy"])
            for cell in all_cells
            if all(cell[key] == row[key] for key in ("task", "training", "labels", "arm"))
        ]
        assert float(row["mean"]) == pytest.approx(np.mean(own), rel=1e-5)  # Six digits.
        if row["arm"] == "baseline":
            assert (row["gain"], row["wins"]) == ("0.0", "2.0")
    record = json.loads((tmp_path / "out/study.json").read_text())
    assert (record["cells"], record["instructions"]) == (72, "avx2")


def begin(folder: Path) -> subprocess.Popen[bytes]:
    """The study's stage in a process of its own."""
    return subprocess.Popen(
        [sys.executable, ROOT / "stages/study.py", "grid"],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "DVC_ROOT"},
        stdout=subprocess.DEVNULL,
    )


def test_who_trains_together_on_how_many_threads_changes_no_byte_and_trains_nothing(
    raw: Path, tmp_path: Path
) -> None:
    ways = {"pairs": {"group_size": 2, "threads": 2}, "all": {"group_size": 3, "threads": 1}}
    for name, how in ways.items():
        (tmp_path / name / "data/raw").mkdir(parents=True)
        (tmp_path / name / "data/raw/fashion_mnist").symlink_to(raw)
        write_parameters(tmp_path / name, seeds=3, labels=[10, "all"], training=[{"steps": 20}])
        edit_params(
            tmp_path / name / "study/params.yaml",
            {f"replicas.{key}": str(value) for key, value in how.items()},
        )
    processes = [begin(tmp_path / name) for name in ways]
    assert [process.wait() for process in processes] == [0, 0]

    def kept(name: str) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (tmp_path / name).rglob("*.npz")}

    # Answers and source networks alike, under the same keys.
    assert kept("pairs") == kept("all")
    assert len(kept("all")) == 3 * (2 * 5 + 1)
    tables = [digests(tmp_path / name / "metrics/study/grid") for name in ways]
    assert tables[0] == tables[1]
    times = [file.stat().st_mtime_ns for file in (tmp_path / "all").rglob("*.npz")]
    shutil.copy(tmp_path / "pairs/study/params.yaml", tmp_path / "all/study/params.yaml")
    assert begin(tmp_path / "all").wait() == 0
    assert times == [file.stat().st_mtime_ns for file in (tmp_path / "all").rglob("*.npz")]


def test_killed_study_goes_on_and_ends_with_the_same_bytes(raw: Any, tmp_path: Any) -> None:
    small: Any = {
        "seeds": 2, "arms": ["baseline", "frozen", "gradual"], "training": [{"steps": 30}]
    }  # fmt: skip
    for name in ("killed", "whole"):
        (tmp_path / name / "data/raw").mkdir(parents=True)
        (tmp_path / name / "data/raw/fashion_mnist").symlink_to(raw)
        write_parameters(tmp_path / name, **small)
    kept = tmp_path / "killed/.headstart/study"
    for finished in (2, 8):
        process = begin(tmp_path / "killed")
        while process.poll() is None and len(list(kept.rglob("*.npz"))) < finished:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    # Killed in the middle, with time to spare before the last group on a quick machine.
    assert 8 <= len(list(kept.rglob("*.npz"))) < 18
    for name in ("killed", "whole"):
        assert begin(tmp_path / name).wait() == 0
    assert digests(tmp_path / "killed/metrics/study/grid") == digests(
        tmp_path / "whole/metrics/study/grid"
    )


def test_plan_of_a_group_is_what_its_bench_trains(make: Any) -> None:
    runner = make()
    runner.start()
    for group in runner.prepared.groups:
        bench = runner.bench(group)
        order = bench.order(group, group.seeds[0])
        assert len(order) == runner.prepared.cost(group).updates
        assert set(order.ravel()) - {plan.EMPTY} <= set(
            bench.subset(group.seeds[0])[: group.training_labels]
        )


def test_operations_of_a_group_hold_no_gradient_of_the_pixels(make: Any) -> None:
    prepared = make(training=[{"epochs": 2}], arms=["baseline", "frozen"]).prepared
    for group in prepared.groups:
        layers = prepared.layers(group.network, group.question.target)
        first, *hidden, head = (layer.flops for layer in layers if layer.parameters)
        an_image = {
            "baseline": 2 * (2 * first + 3 * (sum(hidden) + head)),
            "frozen": first + sum(hidden) + 2 * 2 * head,
        }
        counted = prepared.cost(group).flops
        assert counted == group.training_labels * an_image[group.row.arm]
