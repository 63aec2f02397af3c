"""What became of a module's mutants."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test noticed.

    `place`: the function (`Class.function`) or the name (`Class.name`) that it is in. `was`, `became`: the lines or
    the part of a value that differ; `became` is empty for what was taken out.
    """

    place: str
    was: str
    became: str


@dataclass(frozen=True)
class Outcome:
    """How many mutants there were, and which survived."""

    mutants: int
    survivors: tuple[Survivor, ...]

    @property
    def killed(self) -> int:
        """Mutants that made a test fail, or run without end."""
        return self.mutants - len(self.survivors)

    @property
    def share(self) -> float:
        """Killed ones of all mutants; 0 where there is none, since then nothing was tested."""
        return self.killed / self.mutants if self.mutants else 0.0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.mutants + other.mutants, self.survivors + other.survivors)


class MutationFailed(Exception):
    """Mutants could not be made or tested; the message says why."""
