"""Compares the two arms on the target task's test images, and scores the source network.

Reads the test data, the three models and their histories; writes metrics/ and reports/.
"""

import os
from pathlib import Path

import _checkout  # noqa: F401

from headstart import tracking
from headstart.core import artefacts, runtime
from headstart.core.errors import reported
from headstart.judging import cost, metrics, scores, verdict
from headstart.judging.answers import Answers
from headstart.judging.compared import compared
from headstart.params import reading
from headstart.reporting import figures, page, render, tables, terminal

METRICS, MODELS, PREPARED = Path("metrics"), Path("models"), Path("data/prepared")
CLASSES, TASKS = PREPARED / "classes.json", ("source", "target")
FILES = PREPARED / "target/test_files.json"


def main() -> None:
    settings = reading.load(Path("params.yaml"))
    with tracking.publisher(Path.cwd()) as book:
        runtime.fix(settings.seed)
        from headstart.learning import fit, flops, networks

        # What scores and draws below is imported here, where it takes half the time.
        with runtime.quick_imports(without=("pandas",)):
            import matplotlib.figure  # noqa: F401
            import sklearn.metrics  # noqa: F401

        source, target = (artefacts.read_part(PREPARED / task, "test") for task in TASKS)
        tests = {"baseline": target, "transfer": target, "source": source}
        models = {name: networks.load(MODELS / f"{name}.keras") for name in tests}
        probabilities, scored = {}, {}
        # A network from elsewhere has no source task here, and no head for one.
        for name, training in settings.trainings.items():
            test, size = tests[name], training.batch_size
            probabilities[name], loss = fit.score(models[name], test, batch_size=size)
            scored[name] = scores.scores(test.labels, probabilities[name], loss=loss)

        answers = Answers(target.labels, probabilities["baseline"], probabilities["transfer"])
        taught, classes = (artefacts.read_json(CLASSES)[task]["names"] for task in TASKS)
        rules = settings.evaluate
        both = compared(settings)
        judged = verdict.judge(
            answers,
            scored,
            arms=settings.arms,
            rules=rules,
            classes=classes,
            contender=both.contender,
        )
        labels = {task: PREPARED / task / "train_labels.npy" for task in TASKS}
        images = {task: len(artefacts.read_array(path)) for task, path in labels.items()}
        calls = {name: flops.calls(model) for name, model in models.items()}
        spent = cost.costs(
            settings,
            images=images,
            calls=calls,
            parameters={name: networks.parameters(model) for name, model in models.items()},
        )
        history, plots = tables.read_history(MODELS), METRICS / "plots"
        chosen = metrics.chosen(settings, history)
        record = metrics.Record(comparison=judged.comparison, **scored, cost=spent, chosen=chosen)
        outcome = metrics.Outcome(
            record,
            both,
            reason=judged.reason,
            unfair=judged.unfair,
            test_images={name: len(tests[name].labels) for name in scored},
            confidence=rules.confidence,
            warnings=judged.warnings,
            per_image=cost.per_image(settings, images=images, calls=calls),
        )

        files = artefacts.read_json(FILES)["files"]
        metrics.write(METRICS / "metrics.json", record)
        tables.write(METRICS, history=history, answers=answers, files=files, classes=classes)
        # A project of `headstart init` has no Makefile.
        program = "headstart" if Path("headstart.lock").is_file() else "make"
        html = page.page(
            outcome,
            taught=taught,
            classes=classes,
            pictures=figures.draw(
                plots,
                history,
                target.images,
                answers,
                classes=classes,
                confidence=rules.confidence,
                files=files,
            ),
            # Where the verified bytes came from is no part of the result.
            parameters=settings.model_dump(
                exclude={"dataset": {"sources"}}, exclude_none=True, by_alias=True
            ),
            hashes={str(path): artefacts.md5(path) for path in sorted(MODELS.glob("*.keras"))},
            commands=("git checkout REVISION  # whose dvc.lock has these hashes", f"{program} run"),
        )
        render.write(Path("reports/index.html"), html)
        book.publish()
    terminal.summary(outcome)
    if note := os.environ.get("HEADSTART_SHOWN"):
        Path(note).write_text("shown\n")


if __name__ == "__main__":
    with reported():
        main()
