"""How MLflow loads the registered target classifier; a copy of this package lies in the model."""

import json
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from headstart import serving
from headstart.core.errors import UserError


class Refused(MlflowException):
    """An input that the classifier does not take: status 400, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, error_code=INVALID_PARAMETER_VALUE)
        self._reason = reason

    def serialize_as_json(self) -> str:
        """Returns the body of the answer: the reason without all the pixels that MLflow adds."""
        return json.dumps({"error_code": self.error_code, "message": self._reason})


class Served:
    """The classifier with the one method that MLflow calls."""

    def __init__(self, classifier: serving.Classifier) -> None:
        self._classifier = classifier

    def predict(self, model_input: Any) -> list[dict[str, Any]]:
        """Returns class, label and probabilities of each raw image.

        Raises:
            Refused: The input is not what `serving.raw_images` expects.
        """
        try:
            answers = self._classifier.classify(model_input)
        except UserError as error:
            raise Refused(str(error)) from error
        return [
            {
                "class": answer.name,
                "label": answer.number,
                "probability": answer.probability,
                "probabilities": list(answer.probabilities),
            }
            for answer in answers
        ]


def _load_pyfunc(path: str) -> Served:
    return Served(serving.Classifier.in_folder(Path(path)))
