"""The documents name what exists, and show the numbers that committed files hold."""

import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from projects import ROOT

from headstart import cli
from headstart.core import code
from headstart.reporting import study_tables

sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "scripts"))

import mutate

import docs
from benchmarks import pipeline, sittings

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", ".github/*.md", ".github/ISSUE_TEMPLATE/*.yml")
    for path in ROOT.glob(pattern)
)
# A number with a unit of time or memory, or a ratio: somebody measured it, somewhere, once. Shares
# in per cent are the levels of tests and intervals nearly everywhere.
MEASURED = (
    r"(?<![\w.])\d[\d,.]* ?(?:ms|s|min|minutes?|seconds?|[kMG]i?B|times)\b"
    r"|\b(?:half|about|most of) an? (?:second|minute|hour)\b|\ba minute or two\b"
)
# Those that stand in a sentence all the same, and why they may.
SAID = {
    # What others publish, for who pays for the download.
    "README.md": {"31 MB", "1 GB", "3.6 GB"},
    # For who decides which tests to run.
    "CONTRIBUTING.md": {"a minute or two"},
    # What the code waits for, and where it changes its way.
    "docs/identity.md": {"3 seconds"},
    "docs/study.md": {"0.7 times", "half an hour"},
}
# Written by a command as a whole.
GENERATED = ("docs/claims.md",)
# Folders whose every file git keeps, so that a path below them can be looked up.
KEPT = ("src", "tests", "stages", "docs", "scripts", "benchmarks", "study", ".ci", ".github")
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
each_document = pytest.mark.parametrize("document", DOCUMENTS)


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def code_in(document: str) -> Iterator[str]:
    """The lines of a document's code blocks, and its code within sentences."""
    text = text_of(document)
    for block in re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"^ {4}(.*)$", text, re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", text)


def slug(heading: str) -> str:
    """The anchor that a heading gets on a page of Markdown."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", docs.PAGES, ids=lambda path: path.name)
def test_numbers_of_a_page_are_those_of_the_committed_files(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert docs.page(text) == text


@pytest.mark.parametrize("module", sorted(set(docs.MEASURED.values())))
def test_figures_of_every_benchmark_are_committed(module: str) -> None:
    assert sittings.read(module.partition(".")[2]), f"{module} has not been run with --write"


def test_profile_of_the_pipeline_is_drawn_from_its_figures_beside_the_script_as_it_is(
    tmp_path: Path,
) -> None:
    sitting = sittings.read("pipeline")
    assert sitting
    pipeline.draw(sitting, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").read_bytes() == pipeline.PICTURE.read_bytes()
    yardstick = hashlib.sha256(pipeline.SCRIPT.read_bytes()).hexdigest()
    assert yardstick == sitting.measured["yardstick"]


@each_document
def test_measured_numbers_stand_where_a_script_writes_them(document: str) -> None:
    if document not in GENERATED:
        by_hand = docs.PLACE.sub("", text_of(document))
        assert set(re.findall(MEASURED, by_hand)) == SAID.get(document, set())


@each_document
def test_links_lead_somewhere(document: str) -> None:
    for place, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", text_of(document)):
        target = (ROOT / document).parent / place if place else ROOT / document
        assert target.exists(), place
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [slug(heading) for heading in headings], f"{place}#{anchor}"


@each_document
def test_paths_that_are_named_exist(document: str) -> None:
    """From the top, or from the library's folder: `transfer/graft.py`."""
    heads = "|".join(re.escape(head) for head in KEPT)
    named = rf"(?<![\w./~-])(?:(?:{heads})/[\w./*-]*|[\w/]+/\w+\.py)"
    for path in re.findall(named, text_of(document)):
        assert any(list(top.glob(path.rstrip("./"))) for top in (ROOT, code.LIBRARY)), path


@each_document
def test_tests_that_are_named_exist(document: str) -> None:
    """Both as a file, and as `file`: `part of a name`, as docs/reliability.md has them."""
    pattern = r"`(?:[\w/]*/)?(test_\w+\.py)`((?:[:,] `[a-z]\w+`(?!\.))*)"
    for name, behaviours in re.findall(pattern, text_of(document)):
        (file,) = (ROOT / "tests").rglob(name)
        for behaviour in re.findall(r"`(\w+)`", behaviours):
            assert re.search(rf"^ *def test_\w*{behaviour}", file.read_text(), re.MULTILINE), (
                f"{name}: {behaviour}"
            )


def keys_of(node: Any, head: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{head}{key}"
            yield from keys_of(value, f"{head}{key}.")


@each_document
def test_modules_that_are_named_exist(document: str) -> None:
    """`headstart.study.export`, `transfer.graft.train_grafted`; a key of parameters looks alike."""
    library = "\n".join(path.read_text() for path in code.LIBRARY.rglob("*.py"))
    keys = {
        key
        for file in ("params.yaml", "study/params.yaml")
        for key in keys_of(yaml.safe_load((ROOT / file).read_text()))
    }
    for name in re.findall(r"`([a-z]\w*(?:\.\w+)+)`", text_of(document)):
        first = name.split(".")[0]
        if first not in ("headstart", *code.FLOORS) or name in keys:
            continue
        module = name if first == "headstart" else f"headstart.{name}"
        owner, _, attribute = module.rpartition(".")
        file = code.file_of(owner)
        there = (
            code.file_of(module)
            or (file and re.search(rf"^(def |class )?{attribute}\b", file.read_text(), re.M))
            or f'"{name}"' in library  # a tag in MLflow, or the name of a file
        )
        assert there, name


@each_document
def test_python_in_documents_imports_and_calls_what_exists(document: str) -> None:
    for block in re.findall(r"<<'END'\n(.*?)^ *END$", text_of(document), re.MULTILINE | re.DOTALL):
        for package, name in re.findall(
            r"from (headstart[\w.]*) import (\w+)$", block, re.MULTILINE
        ):
            file = code.file_of(f"{package}.{name}")
            assert file, f"{package}.{name}"
            for called in re.findall(rf"\b{name}\.(\w+)\(", block):
                assert f"def {called}(" in file.read_text(), f"{name}.{called}"


@each_document
def test_targets_of_make_that_are_named_exist(document: str) -> None:
    for line in code_in(document):
        for target in re.findall(r"^(?:[A-Z_]+=\S* )*make ([a-z-]+)", line.strip()):
            assert target in TARGETS, line


@each_document
def test_commands_of_headstart_that_are_named_exist_with_their_options(document: str) -> None:
    for line in code_in(document):
        match = re.match(r"headstart ([^#`]*)", line.strip())
        words = match[1].split() if match else []
        command: Any = typer.main.get_command(cli.app)
        while words and hasattr(command, "commands"):
            if words[0].startswith("-"):
                break
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_makefile_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert sorted(phony[1].split()) == sorted(TARGETS)


def test_diagram_of_the_readme_has_the_edges_of_the_pipeline() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    made = {
        next(iter(out)) if isinstance(out, dict) else out: name
        for name, stage in stages.items()
        for out in stage["outs"]
    }
    edges = {
        (made[out], name)
        for name, stage in stages.items()
        for dep in stage["deps"]
        for out in made
        if f"{dep}/".startswith(f"{out}/")
    }
    drawn = re.findall(r"^ +(\w+)(?:\[.*\])? --> (.*)$", text_of("README.md"), re.MULTILINE)
    assert {(begin, end) for begin, ends in drawn for end in ends.split(" & ")} == edges


def test_conclusion_of_the_readme_is_that_of_the_tables_of_the_study() -> None:
    folder = ROOT / "metrics/study/grid"
    areas = study_tables.read(folder / "areas.csv", study_tables.AreaRow)
    verdicts = {(row.training, row.arm, row.range, row.chosen): row.verdict for row in areas}
    for training in {row.training for row in areas}:
        assert verdicts[training, "frozen", "few", 1] == "transfer better"
    assert verdicts["epochs=5", "frozen", "few", 0] == "invalid"
    assert verdicts["epochs=5", "frozen", "many", 0] == "baseline better"
    rows = study_tables.read(folder / "summary.csv", study_tables.SummaryRow)
    most = max(row.labels for row in rows)
    frozen = [row for row in rows if (row.arm, row.labels) == ("frozen", most)]
    assert {row.verdict for row in frozen} == {"baseline better"}


def test_mutations_fit_the_code_and_rows_of_their_table_name_what_exists() -> None:
    for own in mutate.MUTATIONS:
        assert (ROOT / own.file).read_text().count(own.old) == 1, own.name
    page = mutate.PAGE.read_text()
    rows = re.findall(r"^\| (.*) \| `(.*)` \| `(.*)` \|$", page, re.MULTILINE)
    assert {row[:2] for row in rows} <= {(own.name, own.file) for own in mutate.MUTATIONS}
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert not {by for *_, by in rows if f"def {by}(" not in tests}
