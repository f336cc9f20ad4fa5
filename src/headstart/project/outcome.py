"""What a run came to, from what lies in git: for a clone that has neither data nor models."""

from pathlib import Path

from headstart.data import catalogue, selection
from headstart.judging import metrics, verdict
from headstart.judging.compared import compared
from headstart.params import reading
from headstart.reporting import tables


def read(root: Path) -> metrics.Outcome:
    """Returns the outcome of the last run of the project at `root`.

    Raises:
        UserError: There was none, or its files cannot be read.
    """
    settings = reading.load(root / "params.yaml")
    record = metrics.read(root / "metrics/metrics.json")
    actual, answered = tables.read_predictions(root / "metrics/predictions.csv")
    classes = [str(name) for name in settings.tasks.target_classes]
    # Names of classes of one's own are in git only where params.yaml tells them.
    if (dataset := catalogue.DATASETS.get(settings.dataset.name)) is not None:
        _, target = selection.source_and_target(settings.tasks, dataset.classes, dataset.aliases)
        classes = list(target.names)
    arms = compared(settings)
    decided = verdict.verdict(
        actual,
        answered,
        record.scores,
        rules=settings.evaluate,
        classes=classes,
        contender=arms.contender,
    )
    return metrics.Outcome(
        record=record,
        compared=arms,
        reason=decided.reason,
        unfair=verdict.fairness(*settings.arms),
        # How many test images the source task has is not in git.
        test_images=dict.fromkeys(answered, len(actual)),
        confidence=settings.evaluate.confidence,
        warnings=decided.warnings,
    )
