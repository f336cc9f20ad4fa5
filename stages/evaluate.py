"""Compares the two arms on the target task's test images, and scores the source network.

Reads the test data, the three models and their histories; writes metrics/ and reports/.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401

from headstart import artefacts, cost, params, runtime, tracking
from headstart.errors import reported

METRICS, MODELS, PREPARED = Path("metrics"), Path("models"), Path("data/prepared")
ARMS = ("baseline", "transfer")
SHOWN_MISTAKES = 12


def main() -> None:
    settings = params.load(Path("params.yaml"))
    with tracking.publisher(Path.cwd()) as book:
        runtime.fix(settings.seed)
        from headstart import evaluation, networks, report, training

        tasks = artefacts.read_json(PREPARED / "classes.json")
        classes, source_classes = tasks["target"]["names"], tasks["source"]["names"]
        target = artefacts.read_part(PREPARED / "target", "test")
        tests = {"baseline": target, "transfer": target}
        # A network from elsewhere has no source task here, and no head for one.
        adopted = settings.source_training.from_
        if adopted is None:
            tests["source"] = artefacts.read_part(PREPARED / "source", "test")
        models = {name: networks.load(MODELS / f"{name}.keras") for name in (*ARMS, "source")}
        losses = {name: training.loss(models[name], test) for name, test in tests.items()}
        probabilities = {
            name: training.predict(models[name], test.images) for name, test in tests.items()
        }
        arms = probabilities["baseline"], probabilities["transfer"]
        answers = [evaluation.answers(arm) for arm in arms]
        scores = {
            name: dataclasses.asdict(
                evaluation.scores(tests[name].labels, probabilities[name], loss=losses[name])
            )
            for name in tests
        }
        scores.setdefault("source", dict.fromkeys(scores["baseline"]))
        verdict = evaluation.verdict(
            target.labels,
            *answers,
            baseline_scores=scores["baseline"],
            transfer_scores=scores["transfer"],
            alpha=settings.evaluate.alpha,
            classes=classes,
        )
        unfair = evaluation.fairness(*settings.arms)
        pairs = evaluation.paired(target.labels, *answers)
        low, high = evaluation.gain_interval(
            pairs,
            confidence=settings.evaluate.confidence,
            samples=settings.evaluate.bootstrap_samples,
            seed=settings.seed,
        )
        record: dict[str, Any] = {
            "comparison": {
                "accuracy_gain": pairs.gain,
                "accuracy_gain_low": low,
                "accuracy_gain_high": high,
                "mcnemar_p": evaluation.mcnemar(pairs),
                "verdict": verdict.verdict,
                "fair": not unfair,
            }
        } | scores
        record["cost"] = cost.record(
            cost.works(
                settings,
                forward={name: networks.forward_flops(model) for name, model in models.items()},
                source_images=len(artefacts.read_array(PREPARED / "source/train_labels.npy")),
                target_images=len(artefacts.read_array(PREPARED / "target/train_labels.npy")),
            ),
            parameters={name: networks.parameters(model) for name, model in models.items()},
            transfer_uses_source=settings.transfer.strategy != "random_frozen",
        )
        history = [
            {"arm": name, **row}
            for name in ("source", "baseline", "transfer")
            for row in artefacts.read_history(MODELS / f"{name}.history.csv")
        ]

        artefacts.write_json(METRICS / "metrics.json", record)
        artefacts.write_table(METRICS / "history.csv", history)
        artefacts.write_table(
            METRICS / "predictions.csv", evaluation.prediction_rows(target.labels, *arms)
        )
        artefacts.write_table(METRICS / "roc.csv", report.roc_rows(target.labels, *arms))
        pictures = report.draw(
            METRICS / "plots",
            history=history,
            images=target.images,
            actual=target.labels,
            baseline_probabilities=arms[0],
            transfer_probabilities=arms[1],
            classes=classes,
            limit=SHOWN_MISTAKES,
        )
        said: dict[str, Any] = {
            "reason": verdict.reason,
            "test_images": {name: len(test.labels) for name, test in tests.items()},
            "confidence": settings.evaluate.confidence,
            "unfair": unfair,
        }
        taught = adopted or ", ".join(source_classes)
        page = report.page(
            record,
            question=f"Does a network trained on {taught} have a head start on "
            f"telling {' from '.join(classes)}?",
            pictures=pictures,
            # Where the verified bytes came from is no part of the result.
            parameters=settings.model_dump(exclude={"dataset": {"sources"}}, exclude_none=True),
            hashes={str(path): artefacts.md5(path) for path in sorted(MODELS.glob("*.keras"))},
            commands=("git checkout REVISION  # whose dvc.lock has these hashes", "make run"),
            **said,
        )
        report.write_page(Path("reports/index.html"), page)
        book.publish()
    report.summary(record, **said)
    if note := os.environ.get("HEADSTART_SHOWN"):
        Path(note).write_text("shown\n")


if __name__ == "__main__":
    with reported():
        main()
