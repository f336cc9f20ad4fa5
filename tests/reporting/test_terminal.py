"""The summary survives any terminal, and tells the numbers in words."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from outcomes import COMPARED, RECORD, outcome

from headstart.judging import scores
from headstart.reporting import terminal, words


def printed(record: Any = RECORD, **options: Any) -> str:
    file = io.StringIO()
    terminal.summary(outcome(record, **options), file=file)
    return file.getvalue()


def test_summary_tells_accuracy_interval_gain_cost_and_verdict_in_80_columns() -> None:
    text = printed()
    low, high = scores.wilson(963, 967, confidence=0.95)
    for part in (
        "0.9959",
        f"{low:.4f} to {high:.4f}",
        "-0.0083 (95% interval -0.0145 to -0.0021)",
        "p = 0.0078",
        "+0.0612 (95% interval +0.0514 to +0.0710; lower is better)",
        "275,801",
        "42.4 billion",
        "unknown",
        "Verdict: baseline better",
        "Because.",
    ):
        assert part in text
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "warning" not in text
    assert "None" not in text
    assert "nan" not in text


def test_summary_tells_the_learning_rates_that_were_chosen() -> None:
    assert "chosen learning rate" not in printed()
    chosen = {
        "baseline": {"learning_rate": 0.01},
        "transfer": {"learning_rate": 0.1, "unfrozen_learning_rate": 0.001},
    }
    (line,) = [
        line
        for line in printed({**RECORD, "chosen": chosen}).splitlines()
        if "chosen learning rate" in line
    ]
    assert line.split() == ["chosen", "learning", "rate", "0.01", "0.1,", "then", "0.001"]


def test_summary_shows_every_difference_that_makes_a_comparison_unfair() -> None:
    text = printed(unfair=["epochs: baseline 10, transfer 5", "optimizer: a, b"])
    assert "warning: not a fair comparison: epochs: baseline 10, transfer 5" in text
    assert text.count("warning:") == 2
    assert "warning: not a fair comparison" in printed(unfair=[])


def test_summary_warns_of_a_model_that_has_not_learned() -> None:
    text = printed(warnings=["The transfer has not shown that it learned anything."])
    assert "warning: The transfer has not shown" in text
    assert text.count("warning:") == 1


def test_summary_prints_markup_in_names_as_it_stands() -> None:
    assert "[red]shirt[/red]" in printed(reason="Answers '[red]shirt[/red]'.")


def test_summary_survives_an_ascii_pipe_on_a_dumb_terminal(tmp_path: Path) -> None:
    script = tmp_path / "print.py"
    script.write_text(
        "import json, sys\nfrom headstart.judging.metrics import Outcome, Record\n"
        "from headstart.reporting import terminal\n"
        "from headstart.judging.compared import Compared\n"
        "terminal.summary(Outcome(Record.model_validate(json.loads(sys.argv[1])),"
        " Compared('b', 't', False, None),"
        " reason='Answers \\u201cTänzer\\u201d \\u2717.', unfair=['data: ä'],"
        " test_images={'baseline': 967}, confidence=0.95))\n"
    )
    for term in ("dumb", "xterm-256color"):
        done = subprocess.run(
            [sys.executable, script, json.dumps(RECORD)],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "TERM": term},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"Verdict: baseline better" in done.stdout
        assert done.stdout.isascii()
        assert b"\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "unknown"),
        (0, "0"),
        (51_000, "51,000"),
        (2.13e11, "213 billion"),
        (1e12, "1 trillion"),
    ],
)
def test_large_numbers_are_told_in_words(number: float | None, text: str) -> None:
    assert words.large(number) == text


HIGHER, LOWER, NEITHER = (0.061, 0.0514, 0.0702), (-0.061, -0.0702, -0.0514), (0.1, -0.1, 0.3)
WORSE = "transfer's log loss is higher by 0.061 (0.0514 to 0.0702), its probabilities worse."
BETTER = "transfer's log loss is lower by 0.061 (0.0514 to 0.0702), its probabilities better."


@pytest.mark.parametrize(
    ("verdict", "log_loss", "aside"),
    [
        ("no difference detected", HIGHER, WORSE),
        ("no difference detected", LOWER, BETTER),
        ("no difference detected", NEITHER, None),
        ("equivalent", HIGHER, WORSE),
        ("equivalent", NEITHER, None),
        ("transfer better", HIGHER, WORSE),
        ("transfer better", LOWER, None),
        ("transfer better", NEITHER, "the log loss does not tell them apart (+0.1, -0.1 to +0.3)."),
        ("baseline better", HIGHER, None),
        ("baseline better", LOWER, BETTER),
        ("invalid comparison", HIGHER, None),
        # One image, or a commit from before there was an interval.
        ("no difference detected", (0.061, None, None), None),
        ("no difference detected", (None, None, None), None),
    ],
)
def test_verdict_tells_the_log_loss_where_it_says_something_else(
    verdict: str, log_loss: tuple[float | None, ...], aside: str | None
) -> None:
    keys = ("log_loss_gain", "log_loss_gain_low", "log_loss_gain_high")
    told = dict(zip(keys, log_loss, strict=True))
    record = {**RECORD, "comparison": {**RECORD["comparison"], "verdict": verdict, **told}}
    sentence = words.verdict_sentence(outcome(record).record.comparison, COMPARED)
    if aside is None:
        assert sentence.startswith(f"Verdict: {verdict}: ")
        assert "log loss" not in sentence
    else:
        assert sentence.startswith(f"Verdict: {verdict} in accuracy: ")
        assert sentence.endswith(f"; {aside}")
    text = " ".join(printed(record).split())
    assert sentence in text
    known = (
        f"Log loss of transfer minus that of the baseline: {log_loss[0]:+.4f}"
        if log_loss[0]
        else ""
    )
    assert known in text
    assert ("Log loss of transfer" in text) == bool(known)
    assert "None" not in text
