"""Having points trained: jobs are launched for what no finished job has left a result of."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sweep import result
from sweep.config import Unreachable
from sweep.culprit import halves
from sweep.job import cut
from sweep.plan import Plan
from sweep.result import Outcome, Work

FUSE = {"cpu": 64, "cuda": 512}  # members of a population where train.fuse is auto
Launch = Callable[[DictConfig, Sequence[Sequence[str]], int], list[str]]
Points = Mapping[int, dict[str, Any]]  # number -> what is trained; below 0 stand baselines


class SweepFailed(Exception):
    """Nothing came of it: all jobs or all trials failed."""


@dataclass
class Training:
    """The jobs of one study."""

    plan: Plan
    name: str
    digest: str
    folder: Path
    device: str  # cpu | cuda
    launch: Launch

    def outcomes(
        self, generation: int, seeds: list[int], points: Points, test: bool = False
    ) -> dict[int, Outcome]:
        """Return what became of the points, from the jobs' files or by training them now.

        Raises SweepFailed where all of them failed.
        """
        finished = self._found(generation, seeds, points, failed=False)
        missing = [{"number": n, "params": p} for n, p in points.items() if n not in finished]
        groups = cut(missing, len(seeds), self._fuse())
        works = [Work(self.digest, generation, seeds, group, test) for group in groups]
        suspects = result.suspects(self.folder, self.digest, generation)
        self._launch([part for work in works for part in _apart(work, suspects)])
        finished = self._found(generation, seeds, points, failed=True)
        if len(finished) < len(points):
            raise SweepFailed(
                f"a job left no result: see {self.folder}/*/job.log; the same command goes on"
            )
        broken = [outcome.error for outcome in finished.values() if outcome.error]
        if broken and len(broken) == len(finished):
            raise SweepFailed(broken[0])
        return finished

    def _fuse(self) -> int:
        if self.plan.config.study.prune == "halving":
            return sys.maxsize  # the halves are those of a generation
        fuse = self.plan.config.train.fuse
        return FUSE[self.device] if fuse == "auto" else int(fuse)

    def _found(
        self, generation: int, seeds: list[int], points: Points, failed: bool
    ) -> dict[int, Outcome]:
        outcomes = result.read(self.folder, self.digest, generation)
        mine = {n: outcomes.get((generation, n)) for n in points}
        return {
            n: outcome
            for n, outcome in mine.items()
            if outcome is not None
            and (outcome.params, outcome.seeds) == (points[n], seeds)
            and (failed or outcome.error is None or outcome.lost)
        }

    def _launch(self, works: Sequence[Work]) -> None:
        """Run the jobs; raise Unreachable where one could not read or write what it needs."""
        if not works:
            return
        given = [o for o in self.plan.overrides if not o.startswith("study.storage=")]
        overrides = [*given, f"study.name={self.name}"]  # no job needs what may hold a password
        config = self.plan.loader.load_sweep_config(self.plan.base, overrides)
        jobs = [[*overrides, f"population='{result.to_json(work)}'"] for work in works]
        first = 1 + max(result.job_numbers(self.folder), default=-1)
        for reason in self.launch(config, jobs, first):
            raise Unreachable(f"{reason}; the same command goes on from here")


def _apart(work: Work, suspects: Sequence[Sequence[result.Key]]) -> Iterator[Work]:
    """Yield a job's work; trials of which one lost the device, in halves and by themselves."""
    for keys in sorted(suspects, key=len):
        known = [trial for trial in work.trials if (work.generation, trial["number"]) in keys]
        if known:
            others = [trial for trial in work.trials if trial not in known]
            yield from (half for half in halves(replace(work, trials=known)) if half.trials)
            yield from _apart(replace(work, trials=others), suspects)
            return
    if work.trials:
        yield work
