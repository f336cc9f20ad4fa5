"""Breaks the library by one line at a time and checks that the tests notice.

    python scripts/mutate.py            all mutations; writes the table in docs/testing.md
    python scripts/mutate.py NAME ...   these only; prints the outcome

Each mutation is made in a copy of the working tree, and the tests named beside it must fail.
Before that they must all pass, so that a failure means the mutation.
"""

import concurrent.futures
import functools
import queue
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# Copies of the tree in which mutations are tried side by side.
_JOBS = 2
ROOT = Path(__file__).resolve().parents[1]
LIBRARY = "src/headstart"
PAGE = ROOT / "docs/testing.md"
START, END = "<!-- mutations: start -->\n", "<!-- mutations: end -->\n"


@dataclass(frozen=True)
class Mutation:
    """One line of `file` changed from `old` to `new`, and the tests that must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "off-by-one in the split",
        f"{LIBRARY}/tasks.py",
        "slice(valid_size, valid_size + train_size)",
        "slice(valid_size - 1, valid_size + train_size - 1)",
        "tests/test_tasks.py",
    ),
    Mutation(
        "training images in the test part",
        f"{LIBRARY}/tasks.py",
        "Part(test_images[:test_size], test_labels[:test_size])",
        "Part(train_images[:test_size], train_labels[:test_size])",
        "tests/test_tasks.py",
    ),
    Mutation(
        "test data read by a training stage",
        "stages/train_b.py",
        '"valid")',
        '"test")',
        "tests/test_dependencies.py",
    ),
    Mutation(
        "target labels in the order of class numbers",
        f"{LIBRARY}/tasks.py",
        "    return tuple(numbers)",
        "    return tuple(sorted(numbers))",
        "tests/test_tasks.py",
    ),
    Mutation(
        "pixels divided by 256",
        f"{LIBRARY}/datasets.py",
        "np.divide(images, np.float32(white)",
        "np.divide(images, np.float32(white + 1)",
        "tests/test_datasets.py",
    ),
    Mutation(
        "checksum of a download not compared",
        f"{LIBRARY}/sources.py",
        "    if file.sha256 is None or found == file.sha256:",
        "    if found:",
        "tests/test_download.py",
    ),
    Mutation(
        "unseeded draw",
        f"{LIBRARY}/seeds.py",
        "np.random.PCG64(sequence(seed, *names))",
        "np.random.PCG64()",
        "tests/test_seeds.py",
    ),
    Mutation(
        "the same order in every epoch",
        f"{LIBRARY}/seeds.py",
        'generator(seed, task, "order", epoch)',
        'generator(seed, task, "order")',
        "tests/test_seeds.py",
    ),
    Mutation(
        "overrides of an arm ignored",
        f"{LIBRARY}/params.py",
        "return training.model_copy(update=self.model_dump(exclude_none=True))",
        "return training",
        "tests/test_pipeline.py::test_override_of_one_arm_is_told_as_unfair",
    ),
    Mutation(
        "learning rate 0 accepted",
        f"{LIBRARY}/params.py",
        "LearningRate = Annotated[Number, Field(gt=0,",
        "LearningRate = Annotated[Number, Field(ge=0,",
        "tests/test_params.py",
    ),
    Mutation(
        "unknown parameters accepted",
        f"{LIBRARY}/params.py",
        'ConfigDict(extra="forbid"',
        'ConfigDict(extra="ignore"',
        "tests/test_params.py",
    ),
    Mutation(
        "softmax over one unit as the default",
        f"{LIBRARY}/params.py",
        'return "sigmoid" if classes == 2 else "softmax"',
        'return "softmax"',
        "tests/test_results.py::test_accuracies_are_those_of_a_sound_comparison",
    ),
    Mutation(
        "arms that see different batches",
        f"{LIBRARY}/grafting.py",
        'seed=seed, task="target")\n    history',
        'seed=seed, task="source")\n    history',
        "tests/test_training.py::test_both_arms_see_the_same_batches",
    ),
    Mutation(
        "backbone that is not copied",
        f"{LIBRARY}/grafting.py",
        "        graft(model, source)",
        "        pass",
        "tests/test_training.py::test_strategies_train_what_they_say",
    ),
    Mutation(
        "source model that is trained along",
        f"{LIBRARY}/grafting.py",
        "        graft(model, source)",
        "        model = keras.Sequential([*source.layers[:-1], model.layers[-1]])",
        "tests/test_training.py::test_transfer_leaves_the_source_model_as_it_was",
    ),
    Mutation(
        "frozen backbone that thaws",
        f"{LIBRARY}/cost.py",
        '    if strategy == "finetune":',
        '    if strategy in ("finetune", "frozen"):',
        "tests/test_training.py::test_strategies_train_what_they_say",
    ),
    Mutation(
        "features in another order than their labels",
        f"{LIBRARY}/grafting.py",
        "    return np.concatenate(parts)",
        "    return np.concatenate(parts)[::-1]",
        "tests/test_training.py::test_features_computed_once_equal_training_through_the_frozen_layers",
    ),
    Mutation(
        "date left in a saved model",
        f"{LIBRARY}/artefacts.py",
        'if key != "date_saved"',
        "if key",
        "tests/test_artefacts.py",
    ),
    Mutation(
        "half-written file left behind",
        f"{LIBRARY}/artefacts.py",
        "        part.unlink(missing_ok=True)",
        "        pass",
        "tests/test_artefacts.py",
    ),
    Mutation(
        "swapped gain",
        f"{LIBRARY}/evaluation.py",
        "(self.only_transfer - self.only_baseline)",
        "(self.only_baseline - self.only_transfer)",
        "tests/test_evaluation.py",
    ),
    Mutation(
        "verdict without a test",
        f"{LIBRARY}/evaluation.py",
        "    if p >= alpha:",
        "    if p > 1:",
        "tests/test_evaluation.py",
    ),
    Mutation(
        "winner among constant answers",
        f"{LIBRARY}/evaluation.py",
        "return len(np.unique(answered)) == 1",
        "return False",
        "tests/test_evaluation.py",
    ),
    Mutation(
        "validation data scored as test data",
        "stages/evaluate.py",
        'target = artefacts.read_part(PREPARED / "target", "test")',
        'target = artefacts.read_part(PREPARED / "target", "valid")',
        "tests/test_results.py::test_record_and_tables_have_the_agreed_names",
    ),
    Mutation(
        "multiply-add counted once",
        f"{LIBRARY}/networks.py",
        "return 2 * math.prod(shape)",
        "return math.prod(shape)",
        "tests/test_training.py::test_forward_flops_count_every_multiply_add_twice",
    ),
    Mutation(
        "cost of the frozen layers left out",
        f"{LIBRARY}/cost.py",
        "        passes = 1 if self.frozen_epochs else 0",
        "        passes = 0",
        "tests/test_cost.py",
    ),
    Mutation(
        "stage that does not watch a module it uses",
        "dvc.yaml",
        "      - src/headstart/grafting.py\n",
        "",
        "tests/test_dependencies.py",
    ),
    Mutation(
        "stage that does not watch a parameter it reads",
        "dvc.yaml",
        "      - network\n      - target_training\n      - train_b\n",
        "      - network\n      - train_b\n",
        "tests/test_pipeline.py::test_edited_parameters_rerun_only_the_stages_that_read_them",
    ),
    Mutation(
        "runs of different models taken for one",
        f"{LIBRARY}/tracking/identity.py",
        '"model": self.model',
        '"model": None',
        "tests/test_tracking.py::test_another_model_or_data_or_parameter_is_another_run",
    ),
]


def run_tests(root: Path, tests: set[str]) -> tuple[bool, str]:
    """Runs the tests in the copy; returns whether they passed, and pytest's first failure."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *sorted(tests)],
        cwd=root,
        capture_output=True,
        text=True,
    )
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR "))]
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.returncode == 0, failed[0] if failed else ""


def copy_tree(folder: Path) -> None:
    """Copies what git does not ignore, and the raw data where it is at hand."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    raw = [str(path.relative_to(ROOT)) for path in (ROOT / "data/raw").rglob("*-ubyte")]
    for name in [*listed.split("\0"), *raw]:
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    # The tests copy the tree that git lists.
    subprocess.run(["git", "init", "-q", str(folder)], check=True)


def tried(mutation: Mutation, roots: "queue.Queue[Path]") -> str:
    """Makes one mutation in a free copy; returns the test that noticed, or nothing."""
    root = roots.get()
    path = root / mutation.file
    text = path.read_text()
    path.write_text(text.replace(mutation.old, mutation.new, 1))
    began = time.monotonic()
    survived, failed = run_tests(root, {mutation.tests})
    path.write_text(text)
    roots.put(root)
    # "FAILED tests/test_tasks.py::test_name[...] - why" or without the reason.
    by = failed.partition("::")[2].partition(" - ")[0].partition("[")[0]
    print(
        f"{'SURVIVED' if survived else 'caught':<9}{mutation.name} "
        f"({time.monotonic() - began:.0f} s) {by}",
        flush=True,
    )
    return by


def passes(tests: str, roots: "queue.Queue[Path]") -> str:
    """Runs tests in a free copy without any mutation; returns the first failure, or nothing."""
    root = roots.get()
    _, failed = run_tests(root, {tests})
    roots.put(root)
    return failed


def main(names: list[str]) -> None:
    chosen = [mutation for mutation in MUTATIONS if not names or mutation.name in names]
    for mutation in chosen:
        if (ROOT / mutation.file).read_text().count(mutation.old) != 1:
            raise SystemExit(f"error: {mutation.file} does not hold {mutation.old!r} once")
    with tempfile.TemporaryDirectory() as folder:
        roots: queue.Queue[Path] = queue.Queue()
        for number in range(_JOBS):
            copy_tree(Path(folder) / str(number))
            roots.put(Path(folder) / str(number))
        with concurrent.futures.ThreadPoolExecutor(_JOBS) as pool:
            for failed in pool.map(
                functools.partial(passes, roots=roots), sorted({one.tests for one in chosen})
            ):
                if failed:
                    raise SystemExit(f"error: without any mutation {failed}; mend that first")
            found = list(pool.map(functools.partial(tried, roots=roots), chosen))
    missed = [mutation.name for mutation, by in zip(chosen, found, strict=True) if not by]
    rows = [
        f"| {mutation.name} | `{mutation.file}` | `{by or 'SURVIVED'}` |\n"
        for mutation, by in zip(chosen, found, strict=True)
    ]
    if not names:
        before, _, rest = PAGE.read_text().partition(START)
        _, _, after = rest.partition(END)
        table = "| mutation | file | caught by |\n| --- | --- | --- |\n" + "".join(rows)
        PAGE.write_text(before + START + table + END + after)
    print(f"{len(chosen) - len(missed)} of {len(chosen)} mutations caught")
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
