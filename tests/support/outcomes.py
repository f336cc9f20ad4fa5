"""The outcome of a run made up: what report and terminal tell, with an unknown number or two."""

from collections.abc import Sequence
from typing import Any

from headstart.judging.compared import Compared
from headstart.judging.metrics import Outcome, Record

_SCORES = {"balanced_accuracy": 0.99, "majority_rate": 0.5016, "loss": 0.0213, "log_loss": 0.0213}
RECORD: dict[str, Any] = {
    "comparison": {
        "accuracy_gain": -0.0083,
        "accuracy_gain_low": -0.0145,
        "accuracy_gain_high": -0.0021,
        "mcnemar_p": 0.0078,
        "mcnemar_mid_p": 0.0042,
        "log_loss_gain": 0.0612,
        "log_loss_gain_low": 0.0514,
        "log_loss_gain_high": 0.071,
        "verdict": "baseline better",
        "fair": True,
    },
    "baseline": {"accuracy": 963 / 967, **_SCORES, "auc": 0.9998},
    "transfer": {"accuracy": 955 / 967, **_SCORES, "auc": None},
    "source": {"accuracy": 0.85, **_SCORES, "auc": 0.98},
    "cost": {
        "baseline": {"trainable_parameters": 275801, "updates": 805, "flops": 42_390_000_000},
        "transfer": {"trainable_parameters": 51, "updates": 805, "flops": None},
        "source": {},
    },
}

COMPARED = Compared("MLP (units 9): from scratch", "MLP (units 9): a new head", False, None)


def outcome(
    record: Any = RECORD,
    *,
    reason: str = "Because.",
    unfair: list[str] | None = None,
    warnings: Sequence[str] = (),
    compared: Compared = COMPARED,
) -> Outcome:
    """What is told of `record`; the arms differ in what `unfair` lists."""
    if unfair is not None:
        record = {**record, "comparison": {**record["comparison"], "fair": False}}
    return Outcome(
        Record.model_validate(record),
        compared,
        reason=reason,
        unfair=unfair or [],
        warnings=warnings,
        test_images={"baseline": 967, "transfer": 967, "source": 4033},
        confidence=0.95,
    )
