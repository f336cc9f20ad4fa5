"""The child process that writes to MLflow; see `spawn` for the other side."""

import json
import os
import queue
import sys
import threading
from typing import Any

from headstart.core import runtime
from headstart.core.errors import UserError


def main() -> None:
    """Takes JSON lines on stdin, answers on stdout; an end without a last word means death."""
    answers = os.fdopen(os.dup(1), "w")
    # Whatever libraries print is no answer.
    os.dup2(2, 1)

    def say(**answer: Any) -> None:
        try:
            print(json.dumps(answer), file=answers, flush=True)
        except BrokenPipeError:
            return  # The stage is gone; what remains to do is done all the same.

    # A stage waits seconds, so MLflow must not try for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    messages: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(messages,), daemon=True).start()
    try:
        with runtime.quick_imports():
            from headstart.tracking import publication
        say(imported=True)
        say(done=publication.serve(messages))
    except UserError as error:
        say(error=str(error))
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")


def _listen(messages: "queue.Queue[dict[str, Any]]") -> None:
    """Empties the pipe at once, so that the stage never waits for a slow store."""
    for line in sys.stdin.buffer:
        # A line without its end was cut off by the death of the stage.
        if line.endswith(b"\n"):
            messages.put(json.loads(line))
    messages.put({"do": "end", "status": "KILLED"})


if __name__ == "__main__":
    main()
