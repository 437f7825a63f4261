"""Having points trained: jobs are asked for where no finished job has left a result.

`Training.outcomes` yields what it needs trained and goes on once whoever drives it had it launched
(sweep/studies.py), so that several studies can fill one launch.
"""

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from sweep import result
from sweep.config import Unreachable, is_rate
from sweep.culprit import halves
from sweep.curves import redraw
from sweep.engine.way import Way
from sweep.job import section
from sweep.launcher import Launcher
from sweep.plan import Plan
from sweep.result import Outcome, Work

FUSE = {"cpu": 64, "cuda": 512}  # members of a population where train.fuse is auto
Points = Mapping[int, dict[str, Any]]  # number -> what is trained; below 0 stand baselines
T = TypeVar("T")
Steps = Generator[list[Work], None, T]  # yields what is to be trained before it can go on


class SweepFailed(Exception):
    """Nothing came of it: all jobs or all trials failed."""


@dataclass(eq=False)
class Training:
    """The jobs of one study."""

    plan: Plan
    name: str
    digest: str
    folder: Path  # the study's
    device: str  # cpu | cuda, or auto where the jobs run elsewhere
    launcher: Launcher
    tries: Counter[result.Key] = field(default_factory=Counter)  # how often a trial's job began
    reason: str = "it left no result"  # why the last one was lost
    died: bool = False  # whether a job was lost while its model was tried out

    @property
    def jobs(self) -> Path:
        return self.folder / "jobs"

    def outcomes(
        self, generation: int, seeds: list[int], points: Points, test: bool = False
    ) -> Steps[dict[int, Outcome]]:
        """Return what became of the points, from the jobs' files or by having them trained now.

        Raises Unreachable where all jobs were lost.
        """
        works = self._works(generation, seeds, points, test)
        retries = self.plan.config.study.max_retries
        while True:
            if works:
                yield works
            finished = self._found(generation, seeds, points, failed=True)
            works = [
                work
                for work in works
                if any(trial["number"] not in finished for trial in work.trials)
                and self.tried(work) <= retries
            ]
            works = [part for work in works for part in self._again(work)]
            if not works:
                break
        if points and not finished:
            raise Unreachable(f"all jobs were lost: {self.reason}; the same command goes on")
        for number in points.keys() - finished.keys():
            lost = f"lost with its job {1 + retries} times: {self.reason}"
            finished[number] = Outcome.of_lost_job(lost, points[number], seeds)
        return finished

    def _again(self, work: Work) -> tuple[Work, ...]:
        """Return how a lost job is run again: as it was, and then in halves, which need less."""
        if work.way is None:
            work = replace(work, way=self._way(work.trials))
        whole = self.tried(work) < 2 or len(work.trials) == 1
        return (work,) if whole else halves(work)

    def _works(self, generation: int, seeds: list[int], points: Points, test: bool) -> list[Work]:
        """Return what is still to be trained; trials that lost a device together, apart."""
        finished = self._found(generation, seeds, points, failed=False)
        suspects = result.suspects(self.jobs, self.digest, generation)
        works = []
        for group in self._groups(points, len(seeds)):
            missing = [trial for trial in group if trial["number"] not in finished]
            if missing:
                how = self._way(missing), self._points(missing)
                work = Work(self.digest, generation, seeds, missing, test, *how)
                works += list(_apart(work, suspects))
        return works

    def _way(self, trials: list[dict[str, Any]]) -> Way | None:
        """Return how trials of one architecture are trained, where a job has found it out."""
        died = self.died or self._died_before
        unproven = Way(why="a job was lost while its model was tried out") if died else None
        return self._ways.get(architecture(trials[0]["params"]), unproven)

    @cached_property
    def _ways(self) -> dict[str, Way]:
        """How the models of each architecture are trained, as finished jobs have found out."""
        return _learned({}, result.ways(self.jobs, self.digest))

    @cached_property
    def _died_before(self) -> bool:
        """Whether more than one job of earlier commands was lost while it found that out."""
        lost = result.unfinished(result.job_folders(self.jobs))
        return sum((folder / result.PROOF).exists() for folder in lost) > 1

    def _points(self, trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return no dropout, the middle and the end of the search, for trials of one architecture.

        With these a job finds out how the model is trained.
        """
        ends = {a.key: max(a.ends) for a in self.plan.axes if is_rate(a.key)}
        params = trials[0]["params"]
        return [
            {**params, **{key: part * end for key, end in ends.items() if key in params}}
            for part in (0.0, 0.5, 1.0)
        ]

    def _groups(self, points: Points, n_seeds: int) -> list[list[dict[str, Any]]]:
        """Cut points into populations, always alike: a lost one is trained as it was composed."""
        trials = [{"number": number, "params": params} for number, params in points.items()]
        if self.plan.config.study.prune == "halving":
            return cut(trials, n_seeds, sys.maxsize)  # the halves are those of a generation
        fuse = self.plan.config.train.fuse
        most = FUSE.get(self.device, FUSE["cuda"]) if fuse == "auto" else int(fuse)
        return cut(trials, n_seeds, most, self.launcher.at_once)

    def _found(
        self, generation: int, seeds: list[int], points: Points, failed: bool
    ) -> dict[int, Outcome]:
        outcomes = result.read(self.jobs, self.digest, generation)
        _learned(self._ways, ((o.params, o.way) for o in outcomes.values() if o.way))
        mine = {n: outcomes.get((generation, n)) for n in points}
        return {
            n: outcome
            for n, outcome in mine.items()
            if outcome is not None
            and (outcome.params, outcome.seeds) == (points[n], seeds)
            and (failed or outcome.error is None or outcome.lost)
        }

    def count(self, work: Work) -> None:
        """Count a job that began."""
        self.tries.update((work.generation, trial["number"]) for trial in work.trials)

    def tried(self, work: Work) -> int:
        return max(self.tries[work.generation, trial["number"]] for trial in work.trials)

    def member_epochs(self, work: Work) -> int:
        return len(work.trials) * len(work.seeds) * self.plan.config.train.epochs

    def overrides(self, work: Work) -> list[str]:
        """Return the command line of one job."""
        return [*self.base_overrides(), f"population='{quoted(result.to_json(work))}'"]

    def base_overrides(self) -> list[str]:
        """Return what all jobs have in common; none needs what may hold a password."""
        given = [o for o in self.plan.overrides if not o.startswith("study.storage=")]
        places = {"hydra.sweep.dir": str(self.folder.parent)}  # as the owner sees them
        root = self.plan.config.data.get("root")
        if isinstance(root, str) and "://" not in root:
            places["data.root"] = str(Path(root).resolve())
            given = [o for o in given if not o.startswith("data.root=")]
        env = [f"++hydra.job.env_set.{key}='{value}'" for key, value in self.launcher.env.items()]
        places_of = [f"{key}='{quoted(place)}'" for key, place in places.items()]
        return [*given, *places_of, *env, f"study.name='{self.name}'", "study.storage=null"]

    def take_in(self, number: int, returned: str | None) -> None:
        """Keep what a job says it left; where no folder is shared, its files are written here.

        Raises Unreachable where it could not read or write what it needs, SweepFailed for a fault.
        """
        left = json.loads(returned) if returned else {}
        if "fault" in left:
            raise SweepFailed(left["fault"])
        if "stopped" in left:
            raise Unreachable(f"{left['stopped']}; the same command goes on from here")
        folder = self.jobs / str(number)
        if returned and not result.left(folder):
            folder.mkdir(parents=True, exist_ok=True)
            result.write(folder, returned)
            redraw(self.folder, result.of_trials(left))
        if returned and not left["outcomes"]:
            raise SweepFailed(f"the device is lost: see {folder}/job.log; the same command goes on")


def quoted(path: str) -> str:
    """Put a path into Hydra's quotes, where a backslash means itself but before a quote."""
    return re.sub(r"(\\+)(?='|$)", r"\1\1", path).replace("'", "\\'")


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


def cut(
    trials: Sequence[dict[str, Any]], n_seeds: int, fuse: int, n_parts: int = 1
) -> list[list[dict[str, Any]]]:
    """Cut trials into populations: one architecture each, and no more than `fuse` members.

    Each architecture is cut into n_parts of about equal size, one for each of as many workers; the
    largest come first, so that the last to end are small.
    """
    shapes: dict[str, list[dict[str, Any]]] = {}
    for trial in trials:
        shapes.setdefault(architecture(trial["params"]), []).append(trial)
    groups = sorted(shapes.items(), key=lambda item: -_size(json.loads(item[0])))
    return [part for _, group in groups for part in _parts(group, n_seeds, fuse, n_parts)]


def _learned(
    ways: dict[str, Way], found: Iterable[tuple[Mapping[str, Any], Way]]
) -> dict[str, Way]:
    """Note how trials were trained; a model that was once found to differ stays plain."""
    for params, way in found:
        known = ways.setdefault(architecture(params), way)
        if not way.fused and (known.fused or len(way.draws) > len(known.draws)):
            ways[architecture(params)] = way
    return ways


def architecture(params: Mapping[str, Any]) -> str:
    """Name what of a trial's numbers shapes its network, as JSON."""
    numbers = section(params, "model.")
    return json.dumps({key: value for key, value in numbers.items() if not is_rate(key)})


def _size(shape: Mapping[str, Any]) -> float:
    return math.prod(v for v in shape.values() if isinstance(v, int | float))


def _parts(
    group: list[dict[str, Any]], n_seeds: int, fuse: int, n_parts: int
) -> Iterator[list[dict[str, Any]]]:
    n = min(len(group), max(n_parts, math.ceil(len(group) / max(1, fuse // n_seeds))))
    for i in range(n):
        yield group[len(group) * i // n : len(group) * (i + 1) // n]
