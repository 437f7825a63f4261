"""Turns requested points into jobs, skipping those that already have a result.

`Training.outcomes` yields the work that it needs done and goes on once its driver has had it
launched (sweep/study/studies.py), so that the jobs of several studies can share one launch.
"""

import sys
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from sweep.command.arguments import hydra_quoted
from sweep.command.plan import Plan
from sweep.command.rate import is_rate
from sweep.errors import SweepFailed, Unreachable
from sweep.jobs.launcher import Launcher
from sweep.jobs.partition import architecture, halves, isolate_suspects, partition
from sweep.jobs.results import (
    PROOF,
    DeviceLost,
    Fault,
    Finished,
    JobEnd,
    Results,
    Stopped,
    has_result,
    unfinished,
    work_to_json,
    write_result,
)
from sweep.show.curves import is_drawn, redraw_curves
from sweep.show.progress import Bar
from sweep.work import Key, Outcome, Trial, Way, Work

FUSE = {"cpu": 64, "cuda": 512}  # members of a population if train.fuse is auto
RESUME = "run the same command to resume"
Points = Mapping[int, dict[str, Any]]  # number -> what is trained; numbers below 0 are baselines
T = TypeVar("T")
TrainingRequests = Generator[list[Work], None, T]  # yields what must be trained before it goes on


@dataclass(eq=False)
class Training:
    """The jobs of one study."""

    plan: Plan
    name: str
    digest: str
    folder: Path  # the study's
    device: str  # cpu | cuda, or auto if the jobs run elsewhere
    launcher: Launcher
    bar: Bar
    attempts: Counter[Key] = field(default_factory=Counter)  # how often a trial's job began
    reason: str = "no result"  # why the last lost job was lost
    expected: float = 0.0  # member-epochs that the bar counts already, of what comes last
    died: bool = False  # whether a job was lost while its model was tried out

    @cached_property
    def results(self) -> Results:
        return Results(self.folder / "jobs", self.digest)

    def expect(self, member_epochs: float) -> None:
        """Let the bar count what comes last, as far as it is known."""
        self.expected += member_epochs
        self.bar.add_work(member_epochs)

    def add_expected(self, member_epochs: float = 0.0, title: str = "") -> None:
        """Let the bar count what came of it: this much, or nothing."""
        self.bar.add_work(member_epochs - self.expected, title)
        self.expected = 0.0

    def outcomes(
        self, generation: int, seeds: list[int], points: Points, test: bool = False
    ) -> TrainingRequests[dict[int, Outcome]]:
        """Return what became of the points, from the jobs' files or by having them trained now.

        Raises Unreachable if all jobs were lost.
        """
        works = self._missing_works(generation, seeds, points, test)
        retries = self.plan.config.study.max_retries
        while True:
            if works:
                yield works
            finished = self._finished(generation, seeds, points, with_failed=True)
            works = [
                work
                for work in works
                if any(trial.number not in finished for trial in work.trials)
                and self.n_attempts(work) <= retries
            ]
            works = [part for work in works for part in self._again(work)]
            if not works:
                break
        if points and not finished:
            raise Unreachable(f"all jobs were lost (last reason: {self.reason}); {RESUME}")
        for number in points.keys() - finished.keys():
            error = f"lost with its job {1 + retries} times: {self.reason}"
            finished[number] = Outcome(
                error=error, params=points[number], seeds=seeds, member_epochs_per_second=0.0
            )
        return finished

    def _again(self, work: Work) -> tuple[Work, ...]:
        """Return how a lost job is run again: as it was, and then in halves, which need less."""
        if work.way is None:
            work = replace(work, way=self._way(work.trials))
        whole = self.n_attempts(work) < 2 or len(work.trials) == 1
        return (work,) if whole else halves(work)

    def _missing_works(
        self, generation: int, seeds: list[int], points: Points, test: bool
    ) -> list[Work]:
        """Return what is still to be trained; trials that lost a device together are separated."""
        finished = self._finished(generation, seeds, points, with_failed=False)
        suspects = self.results.suspects(generation)
        works = []
        for group in self._populations(points, len(seeds)):
            missing = [trial for trial in group if trial.number not in finished]
            if missing:
                how = self._way(missing), self._proof_points(missing[0])
                work = Work(self.digest, generation, seeds, missing, test, *how)
                works += list(isolate_suspects(work, suspects))
        return works

    def _way(self, trials: list[Trial]) -> Way | None:
        """Return how trials of one architecture are trained, if a job has found it out."""
        died = self.died or self._died_before
        unproven = Way(why="a job was lost while its model was tried out") if died else None
        return self._ways.get(architecture(trials[0].params), unproven)

    @cached_property
    def _ways(self) -> dict[str, Way]:
        """How the models of each architecture are trained, as finished jobs have found out."""
        return _learn_ways({}, self.results.ways())

    @cached_property
    def _died_before(self) -> bool:
        """Whether more than one job of earlier commands was lost while it found that out."""
        lost = unfinished(self.results.folders())
        return sum((folder / PROOF).exists() for folder in lost) > 1

    def _proof_points(self, trial: Trial) -> list[dict[str, Any]]:
        """Return no dropout, the middle and the end of the search, for a trial's architecture.

        With these a job finds out how the model is trained.
        """
        ends = {a.key: max(a.ends) for a in self.plan.axes if is_rate(a.key)}
        return [
            {**trial.params, **{key: part * ends[key] for key in ends if key in trial.params}}
            for part in (0.0, 0.5, 1.0)
        ]

    def _populations(self, points: Points, n_seeds: int) -> list[list[Trial]]:
        """Partition points deterministically: a lost population is retrained with its members."""
        trials = [Trial(number, params) for number, params in points.items()]
        if self.plan.config.study.prune == "halving":
            return partition(trials, n_seeds, sys.maxsize)  # a generation is halved as a whole
        fuse = self.plan.config.train.fuse
        most = FUSE.get(self.device, FUSE["cuda"]) if fuse == "auto" else int(fuse)
        return partition(trials, n_seeds, most, self.launcher.n_parallel)

    def _finished(
        self, generation: int, seeds: list[int], points: Points, with_failed: bool
    ) -> dict[int, Outcome]:
        outcomes = self.results.outcomes(generation)
        _learn_ways(self._ways, ((o.params, o.way) for o in outcomes.values() if o.way))
        mine = {n: outcomes.get((generation, n)) for n in points}
        return {
            n: outcome
            for n, outcome in mine.items()
            if outcome is not None
            and (outcome.params, outcome.seeds) == (points[n], seeds)
            and (with_failed or outcome.error is None or outcome.lost)
        }

    def count_attempt(self, work: Work) -> None:
        self.attempts.update((work.generation, trial.number) for trial in work.trials)

    def n_attempts(self, work: Work) -> int:
        return max(self.attempts[work.generation, trial.number] for trial in work.trials)

    def member_epochs(self, work: Work) -> int:
        return len(work.trials) * len(work.seeds) * self.plan.config.train.epochs

    def overrides(self, work: Work) -> list[str]:
        """Return the command line of one job."""
        return [*self.base_overrides(), f"work='{hydra_quoted(work_to_json(work))}'"]

    def base_overrides(self) -> list[str]:
        """Return what all jobs have in common; none needs what may hold a password."""
        given = [o for o in self.plan.overrides if not o.startswith("study.storage=")]
        places = {"hydra.sweep.dir": str(self.folder.parent)}  # as the study's process sees them
        root = self.plan.config.data.get("root")
        if isinstance(root, str) and "://" not in root:
            places["data.root"] = str(Path(root).expanduser().resolve())
            given = [o for o in given if not o.startswith("data.root=")]
        env = [f"++hydra.job.env_set.{key}='{value}'" for key, value in self.launcher.env.items()]
        places_of = [f"{key}='{hydra_quoted(place)}'" for key, place in places.items()]
        return [*given, *places_of, *env, f"study.name='{self.name}'", "study.storage=null"]

    def redraw_deleted(self) -> None:
        """Write the event files of trials again that somebody has deleted."""
        outcomes = self.results.outcomes(None)
        deleted = {key: of for key, of in outcomes.items() if not is_drawn(self.folder, key, of)}
        redraw_curves(self.folder, self.plan.config, deleted)

    def accept(self, number: int, end: JobEnd | None) -> None:
        """Keep a job's result; if no folder is shared with the job, its files are written here.

        Raises Unreachable if the job could not read or write its files, SweepFailed if the
        program failed or the device is lost.
        """
        folder = self.results.jobs / str(number)
        match end:
            case Fault():
                raise SweepFailed(end.traceback)
            case Stopped():
                raise Unreachable(f"{end.reason}; {RESUME}")
            case Finished() | DeviceLost() if not has_result(folder):
                folder.mkdir(parents=True, exist_ok=True)
                write_result(folder, end)
                if isinstance(end, Finished):
                    redraw_curves(self.folder, self.plan.config, end.outcomes())
        if isinstance(end, DeviceLost):
            raise SweepFailed(f"the device is lost: see {folder}/job.log; {RESUME}")


def _learn_ways(
    ways: dict[str, Way], trained: Iterable[tuple[Mapping[str, Any], Way]]
) -> dict[str, Way]:
    """Note how trials were trained; a model that was once found to differ stays plain."""
    for params, way in trained:
        known = ways.get(architecture(params), way)
        alone = known.in_one_process or way.in_one_process
        if not way.fused and (known.fused or len(way.draws) > len(known.draws)):
            known = way
        ways[architecture(params)] = replace(known, in_one_process=alone)
    return ways
