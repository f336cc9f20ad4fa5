"""Compares the two arms on the target task's test images, and scores the source network.

Reads the test data, the three models and their histories; writes metrics/ and reports/.
"""

import os
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401

from headstart import tracking
from headstart.core import artefacts, runtime
from headstart.core.errors import reported
from headstart.judging import cost
from headstart.params import reading

METRICS, MODELS, PREPARED = Path("metrics"), Path("models"), Path("data/prepared")
ARMS = ("baseline", "transfer")
SHOWN_MISTAKES = 12


def main() -> None:
    settings = reading.load(Path("params.yaml"))
    with tracking.publisher(Path.cwd()) as book:
        runtime.fix(settings.seed)
        from headstart.judging import verdict
        from headstart.learning import fit, networks
        from headstart.reporting import figures, page, tables, terminal

        tasks = artefacts.read_json(PREPARED / "classes.json")
        classes, source_classes = tasks["target"]["names"], tasks["source"]["names"]
        target = artefacts.read_part(PREPARED / "target", "test")
        tests = {"baseline": target, "transfer": target}
        # A network from elsewhere has no source task here, and no head for one.
        adopted = settings.source_training.from_
        if adopted is None:
            tests["source"] = artefacts.read_part(PREPARED / "source", "test")
        models = {name: networks.load(MODELS / f"{name}.keras") for name in (*ARMS, "source")}
        losses = {name: fit.loss(models[name], test) for name, test in tests.items()}
        probabilities = {
            name: fit.predict(models[name], test.images) for name, test in tests.items()
        }
        judged = verdict.judge(
            {name: test.labels for name, test in tests.items()},
            probabilities,
            losses,
            arms=settings.arms,
            alpha=settings.evaluate.alpha,
            confidence=settings.evaluate.confidence,
            samples=settings.evaluate.bootstrap_samples,
            seed=settings.seed,
            classes=classes,
        )
        record = judged.record
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

        answered: dict[str, Any] = {
            "history": history,
            "actual": target.labels,
            "baseline_probabilities": probabilities["baseline"],
            "transfer_probabilities": probabilities["transfer"],
        }
        tables.write_tables(METRICS, record=record, **answered)
        pictures = figures.draw(
            METRICS / "plots",
            images=target.images,
            classes=classes,
            limit=SHOWN_MISTAKES,
            **answered,
        )
        said: dict[str, Any] = {
            "reason": judged.reason,
            "test_images": {name: len(test.labels) for name, test in tests.items()},
            "confidence": settings.evaluate.confidence,
            "unfair": judged.unfair,
        }
        taught = adopted or ", ".join(source_classes)
        html = page.page(
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
        page.write_page(Path("reports/index.html"), html)
        book.publish()
    terminal.summary(record, **said)
    if note := os.environ.get("HEADSTART_SHOWN"):
        Path(note).write_text("shown\n")


if __name__ == "__main__":
    with reported():
        main()
