"""Splits of a study: what they draw, what they train, and what the tables say of them."""

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from projects import ROOT, clean_environment, edit_params
from studies import data, digests, prepared, study
from typer.testing import CliRunner

from headstart import cli
from headstart.core.errors import UserError, WrongValue
from headstart.core.parts import Drawn, Part
from headstart.data import quality
from headstart.data.raw_data import Raw
from headstart.judging.verdict import TRANSFER_BETTER
from headstart.reporting import answer_figure, study_tables
from headstart.reporting.answer_figure import Headline
from headstart.reporting.study_tables import AreaRow, CellRow, DerivedRow, SummaryRow
from headstart.study import (
    cells,
    cells_table,
    crossed,
    outputs,
    parameters,
    plan,
    power,
    run,
    splits,
    stage,
    store,
)
from headstart.study.plan import Row
from headstart.study.prepare import Cost
from headstart.study.sampling import Sampling
from headstart.study.time_left import TimeLeft

GRID = Path("metrics/study/grid")


def test_split_moves_images_within_their_class_between_train_and_test_alone(raw: Path) -> None:
    own = data(raw, train_size=200, valid_size=50, test_size=100)
    other = splits.drawn(own, 1)
    assert splits.drawn(own, 0) is own
    for name, part in own.parts.items():
        assert (other.parts[name].labels == part.labels).all()
    assert other.parts["valid"] is own.parts["valid"]

    def images(drawn: Any) -> Any:
        both = [drawn.parts[name] for name in ("train", "test")]
        pixels = np.concatenate([part.images.reshape(len(part.labels), -1) for part in both])
        labels = np.concatenate([part.labels for part in both])
        return sorted(
            (int(label), own.tobytes()) for label, own in zip(labels, pixels, strict=True)
        )

    assert images(own) == images(other)
    changed = [
        (own.parts[name].images != other.parts[name].images).any(axis=(1, 2)).mean()
        for name in ("train", "test")
    ]
    assert min(changed) > 0.8
    # Each is drawn by its own name.
    third = splits.drawn(own, 2)
    assert (third.parts["test"].images != other.parts["test"].images).any()
    assert (splits.drawn(own, 1).parts["test"].images == other.parts["test"].images).all()


def test_image_that_is_twice_in_one_part_may_not_be_drawn_apart() -> None:
    labels = np.arange(60) % 2
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
    images[2] = images[0]
    own = Raw(("a", "b"), {}, {"all": Part(images, labels)})
    rows = {"train": Drawn("all", np.arange(50)), "test": Drawn("all", np.arange(50, 60))}
    assert quality.check(own, rows, max_duplicates=0) == []
    with pytest.raises(WrongValue) as refused:
        splits.check(own, rows, 9, max_duplicates=0)
    said = str(refused.value)
    assert said.startswith("splits: 9, and 1 images stand in train and in test of split ")
    assert {"train: image 0 = test: image 2", "train: image 2 = test: image 0"} & {
        said[said.index("(") + 1 : said.index(")")]
    }
    assert "take them out of the data, write 1 split" in said
    # The split that it names is one that draws them apart.
    number = int(said.split("of split ")[1].split()[0]) - 1
    tested = splits.order(labels, number)[50:]
    assert len({0, 2} & set(tested.tolist())) == 1
    (warning,) = splits.check(own, rows, 9, max_duplicates=1)
    assert "as dataset.max_duplicates 1 allows" in warning
    images[2] = images[4] + 1
    assert splits.check(own, rows, 9, max_duplicates=0) == []


def test_time_left_while_rates_are_searched_knows_the_other_splits(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, told, said = [0.0], list[tuple[float, float | None]](), list[str]()
    real = TimeLeft.advance

    def advance(self: TimeLeft, work: plan.Work) -> float | None:
        told.append((clock[0], real(self, work)))
        return told[-1][1]

    def engine(runner: run.Runner, works: Sequence[plan.Work]) -> Iterator[tuple[plan.Work, Any]]:
        """Trains nothing, and takes the time that a training should."""
        for work in works:
            clock[0] += runner.prepared.effort(work) / 1e9
            count = len(work.seeds)
            losses = {plan.LOSSES: np.full((count, 1), 1 / work.learning_rate)}
            if isinstance(work, plan.SourceGroup):
                yield work, {"weight_00": np.zeros((count, 1))} | (losses if work.validated else {})
            elif work.searches:
                yield work, losses
            else:
                images = runner.prepared.answered(work)
                answers = np.zeros((count, images), dtype=np.uint8)
                yield work, {"answers": answers, "finite": np.ones(count, dtype=bool)}

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(TimeLeft, "advance", advance)
    ready = prepared(
        raw,
        arms=["baseline", "frozen"],
        labels=[10, 40],
        training=[{"steps": 5}],
        learning_rates=[0.01, 0.1],
        search_seeds=2,
        splits=4,
    )
    splits.run(run.Runner(ready, store.Store(tmp_path, {}), said.append, engine))
    known = [(at, left) for at, left in told[:-1] if left is not None]
    assert len(known) > len(told) / 2
    for at, left in known:
        assert left == pytest.approx(clock[0] - at, rel=0.2)


def test_share_of_a_test_part_that_another_tests_too_is_counted_in_the_task(raw: Path) -> None:
    own = data(raw, train_size=300, valid_size=10, test_size=100)
    numbers = np.arange(400)
    labels = np.concatenate([own.parts[name].labels for name in ("train", "test")])
    chosen = [
        {place for place in splits.order(labels, number)[300:] if labels[place] in (5, 6)}
        for number in range(3)
    ]
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([len(chosen[one] & chosen[other]) / len(chosen[0]) for one, other in pairs])
    assert splits.shared(own, 3, (5, 6)) == pytest.approx(expected)
    assert 0.1 < expected < 0.4
    assert splits.shared(own, 1, (5, 6)) == 0.0
    assert sorted(splits.order(labels, 1)) == numbers.tolist()


def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The networks that are trained from now on, by what they are of."""
    names: list[str] = []
    real, real_sources = cells.train, cells.train_sources

    def train(bench: Any, group: Any) -> Any:
        names.extend("search" if group.searches else group.row.arm for _ in group.seeds)
        return real(bench, group)

    def train_sources(group: Any, *others: Any) -> Any:
        names.extend("source" for _ in group.seeds)
        return real_sources(group, *others)

    monkeypatch.setattr(cells, "train", train)
    monkeypatch.setattr(cells, "train_sources", train_sources)
    return names


def kept() -> dict[str, tuple[bytes, int]]:
    return {
        file.name: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in Path(".headstart/study").rglob("*.npz")
    }


def test_splits_raised_later_train_what_is_new_and_split_0_stays(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = trained(monkeypatch)
    searched = {"grid.learning_rates": "[0.1, 0.01]", "grid.search_seeds": "1"}
    edit_params(digits / "study/params.yaml", searched | {"grid.labels": "[4]"})
    stage.answer("grid")
    alone = (GRID / "cells.csv").read_text()
    assert "split" not in alone.splitlines()[0]
    assert "splits" not in (GRID / "summary.csv").read_text().splitlines()[0]
    first = study_tables.read(GRID / "cells.csv", CellRow)
    before = kept()
    names.clear()
    edit_params(digits / "study/params.yaml", {"grid.splits": "3"})
    stage.answer("grid")
    assert "search" not in names
    new = study_tables.read(GRID / "cells.csv", CellRow)
    assert {row.split for row in new} == {0, 1, 2}
    assert sorted(str(row) for row in new if row.split == 0) == sorted(map(str, first))
    assert len(new) == 3 * len(first)
    # Two splits more; of each row those at both rates where they differ.
    assert names.count("baseline") == 2 * sum(row.arm == "baseline" for row in first)
    assert names.count("frozen") == 2 * sum(row.arm == "frozen" for row in first)
    after = kept()
    assert before.items() <= after.items()
    whole = digests(GRID)
    names.clear()
    stage.answer("grid")
    assert names == []
    assert digests(GRID) == whole
    # The tables of one split come back as they were.
    edit_params(digits / "study/params.yaml", {"grid.splits": "1"})
    stage.answer("grid")
    assert names == []
    assert (GRID / "cells.csv").read_text() == alone


def begin(root: Path) -> Any:
    environment = clean_environment() | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / "stages/study.py"), "grid"]
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL)


def test_killed_study_of_three_splits_goes_on_and_ends_with_the_same_bytes(digits: Path) -> None:
    edit_params(digits / "study/params.yaml", {"grid.splits": "3", "replicas.group_size": "1"})
    store = digits / ".headstart/study"
    # Of each split eight networks and two sources.
    for finished in (12, 22):
        process = begin(digits)
        while process.poll() is None and len(list(store.rglob("*.npz"))) < finished:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 12 <= len(list(store.rglob("*.npz"))) < 30
    assert begin(digits).wait() == 0
    killed = digests(digits / GRID)
    for file in store.rglob("*.npz"):
        file.unlink()
    assert begin(digits).wait() == 0
    assert digests(digits / GRID) == killed


def made(count: int, *, seeds: int = 4) -> list[cells_table.Cells]:
    """Rows of a study whose images are easy or hard whatever the split, frozen ahead with few."""
    draws = np.random.default_rng(7)
    hard = draws.normal(0, 0.1, 300)
    tested = [draws.permutation(300)[:60] for _ in range(count)]
    shares = {"baseline": (0.6, 0.75, 0.9), "frozen": (0.8, 0.85, 0.9)}
    rows = []
    for arm, by_labels in shares.items():
        for labels, share in zip((10, 100, 1000), by_labels, strict=True):
            easy = np.concatenate([np.tile(share + hard[own], (seeds, 1)) for own in tested])
            right = draws.random(easy.shape) < easy
            actual = np.arange(60) % 2
            rows.append(
                cells_table.Cells(
                    row=Row("3_8", 0, "mlp", "steps=5", labels, arm),
                    answers=np.where(right, actual, 1 - actual),
                    actual=actual,
                    finite=np.ones(len(easy), dtype=bool),
                    learning_rate=0.01,
                    source_learning_rate=0.01,
                    rate_at_edge=False,
                    cost=Cost(100, 5, 1000, 5000, 9),
                    sampling=Sampling(count, 0.2 if count > 1 else 0.0),
                )
            )
    return rows


def test_tables_page_and_answer_say_on_what_they_rest(tmp_path: Path) -> None:
    settings = parameters.load(ROOT / "study/params.yaml").statistics
    rows = made(5)
    (answer,) = outputs.write(tmp_path, rows, study(splits=5).grid, settings)
    assert "With 10 to 100 labels transfer is better: " in answer
    assert "It saves labels: the baseline needs" in answer
    summary = study_tables.read(tmp_path / "summary.csv", SummaryRow)
    assert {(row.seeds, row.splits) for row in summary} == {(4, 5)}
    figure = answer_figure.answer(summary, {summary[0].setting: Headline("", "")}, confidence=0.95)
    assert "intervals over 5 splits, each with 4 seeds." in figure.get_supxlabel()
    for row, own in zip(summary, rows, strict=True):
        assert row.mean == pytest.approx(own.right.mean(), rel=1e-5)
        values = own.right.reshape(5, 4, 60).astype(float)
        low, high = crossed.mean(values, shared=0.2).interval(confidence=0.95)
        assert (row.low, row.high) == pytest.approx((low, high), rel=1e-5)
        # An interval of a mean over splits knows images; of no other statistic one is known.
        assert (row.two_way_low, row.two_way_high) == (row.low, row.high)
        assert math.isnan(row.median_low)
        assert math.isnan(row.iqm_high)
        assert row.untrained == 0
    few, *_ = (row for row in summary if row.arm == "frozen")
    gains = (rows[3].right.astype(float) - rows[0].right).reshape(5, 4, 60)
    assert few.p == pytest.approx(float(crossed.mean(gains, shared=0.2).p()), rel=1e-4)
    assert few.p <= few.p_adjusted < 0.05
    assert few.verdict == TRANSFER_BETTER
    assert few.gain_low < few.gain < few.gain_high
    assert 0 < few.detectable_gain < 0.5
    areas = study_tables.read(tmp_path / "areas.csv", AreaRow)
    assert {(row.seeds, row.splits) for row in areas} == {(4, 5)}
    derived = study_tables.read(tmp_path / "derived.csv", DerivedRow)
    (saved,) = (row for row in derived if (row.quantity, row.at) == ("labels_saved", "10"))
    assert 1 < saved.low < saved.value < saved.high
    cells_ = study_tables.read(tmp_path / "cells.csv", CellRow)
    assert [(row.split, row.seed) for row in cells_[:20]] == list(product(range(5), range(4)))
    assert [row.right for row in cells_[:20]] == rows[0].right.sum(axis=1).tolist()
    record = json.loads((tmp_path / "study.json").read_text())
    assert (record["cells"], record["seeds"], record["splits"]) == (6 * 20, 4, 5)
    text = outputs.write_page(tmp_path, settings).read_text()
    assert "5 splits crossed with 4 paired seeds a row" in text
    assert "intervals over splits, seeds and images, each for itself; p is corrected (Holm)" in text
    assert "more seeds take nothing of that away" in text
    assert "Learning rates were chosen" not in text
    assert "resampled from the real cells" not in text
    with pytest.raises(UserError, match="where splits is 1"):
        power.seeds(summary, 0.01, settings)


def test_page_says_that_labels_of_the_search_are_test_images_of_other_splits(
    tmp_path: Path,
) -> None:
    settings = parameters.load(ROOT / "study/params.yaml").statistics
    outputs.write(tmp_path, made(3), study(splits=3).grid, settings, unsearched=made(3))
    text = outputs.write_page(tmp_path, settings).read_text()
    assert "by labels some of which are test images of other splits" in text
    # Three are fewer than were simulated.
    assert "These are 3 splits: how far such intervals and corrected p-values hold" in text


def test_one_split_says_nothing_of_splits(tmp_path: Path) -> None:
    settings = parameters.load(ROOT / "study/params.yaml").statistics
    outputs.write(tmp_path, made(1), study().grid, settings)
    text = outputs.write_page(tmp_path, settings).read_text()
    assert "split" not in text
    assert all("split" not in file.read_text() for file in tmp_path.glob("*.csv"))
    assert "splits" not in json.loads((tmp_path / "study.json").read_text())


def test_interim_page_counts_all_splits_and_tells_no_interval(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_params(digits / "study/params.yaml", {"grid.splits": "3", "replicas.group_size": "1"})
    real, count = cells.train, [0]

    def train(bench: Any, group: Any) -> Any:
        count[0] += 1
        if count[0] == 11:
            raise KeyboardInterrupt
        return real(bench, group)

    monkeypatch.setattr(cells, "train", train)
    with pytest.raises(KeyboardInterrupt):
        stage.answer("grid")
    said = CliRunner().invoke(cli.app, ["study", "page"]).output
    assert said.startswith("interim: 10 of 24 networks\n")
    text = Path(".headstart/study-grid/interim.md").read_text()
    assert "in any of the 3 splits; their intervals need all of them" in text


def test_claims_are_judged_over_seeds_alone() -> None:
    values = yaml.safe_load((ROOT / "study/params.yaml").read_text())
    assert {values[section]["splits"] for section in parameters.SECTIONS} == {1}
    values["claims"]["splits"] = 2
    with pytest.raises(UserError, match=r"claims\.splits: 2 is not allowed here; expected 1"):
        parameters.parse(yaml.safe_dump(values), "study/params.yaml")
    for value in (0, 101, 2.5):
        with pytest.raises(UserError, match=r"grid\.splits"):
            study(splits=value)
