"""Progress of a study on the terminal: how much is done, and how long the rest takes."""

import time
from collections.abc import Callable, Mapping

from headstart.study import plan

# How often it is told, in seconds.
_SECONDS_BETWEEN = 5.0

Say = Callable[[str], None]


class TimeLeft:
    """Tells how much is done, and the time left by the work that is left, `later` work too."""

    def __init__(self, say: Say, efforts: Mapping[plan.Work, float], later: float) -> None:
        self._say, self._later = say, later
        self._left = dict(efforts)
        self._groups, self._effort = len(efforts), sum(efforts.values())
        self._began = self._last_line = time.monotonic()

    def advance(self, work: plan.Work) -> float:
        """Counts `work` as done; returns the seconds left."""
        del self._left[work]
        now = time.monotonic()
        left = sum(self._left.values())
        seconds = (now - self._began) * (left + self._later) / (self._effort - left)
        if now - self._last_line < _SECONDS_BETWEEN and self._left:
            return seconds
        self._last_line = now
        self._say(
            f"{self._groups - len(self._left)} of {self._groups} groups, "
            f"{_clock(now - self._began)} gone, {_clock(seconds)} left; {work.name}"
        )
        return seconds


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
