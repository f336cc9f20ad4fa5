"""Compares the two arms on the target task's test images, and scores the source network.

Reads the test data, the three models and their histories; writes metrics/ and reports/.
"""

import os
from pathlib import Path

import _checkout  # noqa: F401

from headstart import tracking
from headstart.core import artefacts, runtime
from headstart.core.errors import reported
from headstart.judging import cost, metrics
from headstart.judging.answers import ARMS, Answers
from headstart.params import reading

METRICS, MODELS, PREPARED = Path("metrics"), Path("models"), Path("data/prepared")


def main() -> None:
    settings = reading.load(Path("params.yaml"))
    with tracking.publisher(Path.cwd()) as book:
        runtime.fix(settings.seed)
        from headstart.judging import scores, verdict
        from headstart.learning import fit, networks
        from headstart.reporting import figures, page, render, tables, terminal

        tasks = artefacts.read_json(PREPARED / "classes.json")
        classes, source_classes = tasks["target"]["names"], tasks["source"]["names"]
        target = artefacts.read_part(PREPARED / "target", "test")
        tests = {"baseline": target, "transfer": target}
        # A network from elsewhere has no source task here, and no head for one.
        adopted = settings.source_training.from_
        if adopted is None:
            tests["source"] = artefacts.read_part(PREPARED / "source", "test")
        models = {name: networks.load(MODELS / f"{name}.keras") for name in (*ARMS, "source")}
        trainings = {
            "source": settings.source_training,
            "baseline": settings.baseline_training,
            "transfer": settings.transfer_training,
        }
        probabilities, scored = {}, {}
        for name, test in tests.items():
            probabilities[name], loss = fit.score(
                models[name], test, batch_size=trainings[name].batch_size
            )
            scored[name] = scores.scores(test.labels, probabilities[name], loss=loss)
        answers = Answers(target.labels, probabilities["baseline"], probabilities["transfer"])
        judged = verdict.judge(
            answers,
            scored,
            arms=settings.arms,
            alpha=settings.evaluate.alpha,
            confidence=settings.evaluate.confidence,
            samples=settings.evaluate.bootstrap_samples,
            seed=settings.seed,
            classes=classes,
        )
        record = metrics.Record(
            comparison=judged.comparison,
            baseline=scored["baseline"],
            transfer=scored["transfer"],
            source=scored.get("source", metrics.Scores()),
            cost=cost.costs(
                settings,
                forward={name: networks.forward_flops(model) for name, model in models.items()},
                parameters={name: networks.parameters(model) for name, model in models.items()},
                source_images=len(artefacts.read_array(PREPARED / "source/train_labels.npy")),
                target_images=len(artefacts.read_array(PREPARED / "target/train_labels.npy")),
            ),
        )
        metrics.write(METRICS / "metrics.json", record)
        history = [
            {"arm": name, **row}
            for name in ("source", *ARMS)
            for row in artefacts.read_history(MODELS / f"{name}.history.csv")
        ]
        tables.write(METRICS, history=history, answers=answers)
        outcome = metrics.Outcome(
            record,
            reason=judged.reason,
            unfair=judged.unfair,
            test_images={name: len(test.labels) for name, test in tests.items()},
            confidence=settings.evaluate.confidence,
        )
        taught = adopted or ", ".join(source_classes)
        html = page.page(
            outcome,
            question=f"Does a network trained on {taught} have a head start on "
            f"telling {' from '.join(classes)}?",
            pictures=figures.draw(
                METRICS / "plots",
                history=history,
                images=target.images,
                answers=answers,
                classes=classes,
            ),
            # Where the verified bytes came from is no part of the result.
            parameters=settings.model_dump(
                exclude={"dataset": {"sources"}}, exclude_none=True, by_alias=True
            ),
            hashes={str(path): artefacts.md5(path) for path in sorted(MODELS.glob("*.keras"))},
            commands=("git checkout REVISION  # whose dvc.lock has these hashes", "make run"),
        )
        render.write(Path("reports/index.html"), html)
        book.publish()
    terminal.summary(outcome)
    if note := os.environ.get("HEADSTART_SHOWN"):
        Path(note).write_text("shown\n")


if __name__ == "__main__":
    with reported():
        main()
