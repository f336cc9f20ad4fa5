"""How far the study is and how long it still takes, told while it trains."""

import time
from collections.abc import Callable, Mapping

# How often progress is told, in seconds.
_SECONDS_BETWEEN = 5.0


class Progress:
    """Tells how much is done, and the time left by the work that is left."""

    def __init__(self, say: Callable[[str], None], efforts: Mapping[str, float]) -> None:
        self._say = say
        self._left = dict(efforts)
        self._groups, self._effort = len(efforts), sum(efforts.values())
        self._began = self._last_line = time.monotonic()

    def advance(self, name: str) -> None:
        """Counts the group `name` as done."""
        del self._left[name]
        now = time.monotonic()
        if now - self._last_line < _SECONDS_BETWEEN and self._left:
            return
        self._last_line = now
        left = sum(self._left.values())
        seconds = (now - self._began) * left / (self._effort - left)
        self._say(
            f"{self._groups - len(self._left)} of {self._groups} groups, "
            f"{_clock(now - self._began)} gone, {_clock(seconds)} left; {name}"
        )


def in_a_line(error: Exception) -> str:
    """Returns the kind of error and its first line; the last where TensorFlow only opens there."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    line = lines[-1] if lines[0].endswith(":") else lines[0]
    return f"{type(error).__name__}: {line[:200]}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
