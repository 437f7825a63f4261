"""How a job ends, and the file in its folder that says so."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sweep.errors import Unreachable
from sweep.files import write_whole
from sweep.work import Key, Outcome, Trial, TrialResult, Way, Work

FILE = "result.json"
PROOF = "proof"  # in a job's folder while it finds out how its model is trained


@dataclass(frozen=True)
class Finished:
    """All trials of the job have a result, if only an error."""

    work: Work
    results: list[TrialResult]  # one for each trial of the work
    seconds: float

    def outcomes(self) -> dict[Key, Outcome]:
        """Return what the job says of its trials."""
        seeds = self.work.seeds
        epochs = sum(len(result.curves.get("val_loss", ())) for result in self.results)
        speed = epochs * len(seeds) / self.seconds
        return {
            (self.work.generation, trial.number): Outcome(
                **vars(result), params=trial.params, seeds=seeds, member_epochs_per_second=speed
            )
            for trial, result in zip(self.work.trials, self.results, strict=True)
        }


@dataclass(frozen=True)
class DeviceLost:
    """One of several trials took the device from the process, and none has a result."""

    work: Work


@dataclass(frozen=True)
class Stopped:
    """The job ended early through no fault of its trials: no data, a full disk, no study."""

    reason: str


@dataclass(frozen=True)
class Fault:
    """The program itself failed."""

    traceback: str


JobEnd = Finished | DeviceLost | Stopped | Fault


def to_text(end: JobEnd) -> str:
    """Return the end of a job as JSON: plain data, which every launcher brings back."""
    return json.dumps({"end": type(end).__name__, **asdict(end)})


def from_text(text: str) -> JobEnd:
    saved: dict[str, Any] = json.loads(text)
    match saved.pop("end"):
        case "Finished":
            results = [TrialResult(**one | {"way": _way(one)}) for one in saved["results"]]
            return Finished(_work(saved["work"]), results, saved["seconds"])
        case "DeviceLost":
            return DeviceLost(_work(saved["work"]))
        case "Stopped":
            return Stopped(**saved)
        case _:
            return Fault(**saved)


def work_to_json(work: Work) -> str:
    return json.dumps(asdict(work))


def work_from_json(text: str) -> Work:
    return _work(json.loads(text))


def _work(saved: Mapping[str, Any]) -> Work:
    trials = [Trial(**trial) for trial in saved["trials"]]
    return Work(**{**saved, "trials": trials, "way": _way(saved)})


def _way(saved: Mapping[str, Any]) -> Way | None:
    return Way(**saved["way"] | {"draws": tuple(saved["way"]["draws"])}) if saved["way"] else None


def write_result(folder: Path, end: Finished | DeviceLost) -> None:
    write_whole(folder / FILE, to_text(end))


def read_text(folder: Path) -> str:
    return (folder / FILE).read_text()


def has_result(folder: Path) -> bool:
    return (folder / FILE).exists()


def unfinished(folders: Iterable[Path]) -> list[Path]:
    """Return the folders of the jobs that have no result."""
    return [folder for folder in folders if not has_result(folder)]


@dataclass
class Results:
    """The jobs' folders of one study, and what lies in them."""

    jobs: Path
    study: str  # digest of the study's fingerprint and sources; others' results are passed over
    # of each file, by path and time: so that the files of other generations are read but once
    generations: dict[tuple[Path, int], int] = field(default_factory=dict)

    def numbers(self) -> list[int]:
        return sorted(int(path.name) for path in self.jobs.glob("*") if path.name.isdigit())

    def folders(self) -> list[Path]:
        return [self.jobs / str(number) for number in self.numbers()]

    def are_others(self) -> bool:
        """Return whether there are results, but none of this study."""
        return any(map(has_result, self.folders())) and not any(True for _ in self._ends())

    def outcomes(self, generation: int | None) -> dict[Key, Outcome]:
        """Read the outcomes of a generation, or of all; of a trial's two the later job's."""
        outcomes: dict[Key, Outcome] = {}
        for end in self._ends(generation):
            if isinstance(end, Finished):
                outcomes |= end.outcomes()
        return outcomes

    def ways(self) -> list[tuple[dict[str, Any], Way]]:
        """Return how each trial of the study was trained, with its point."""
        ends = (end for end in self._ends() if isinstance(end, Finished))
        found = (outcome for end in ends for outcome in end.outcomes().values())
        return [(outcome.params, outcome.way) for outcome in found if outcome.way]

    def suspects(self, generation: int) -> list[list[Key]]:
        """Return the trials that lost the device together, job by job."""
        return [
            [(generation, trial.number) for trial in end.work.trials]
            for end in self._ends(generation)
            if isinstance(end, DeviceLost)
        ]

    def _ends(self, generation: int | None = None) -> Iterator[Finished | DeviceLost]:
        for folder in filter(has_result, self.folders()):
            path = folder / FILE
            key = path, path.stat().st_mtime_ns
            if generation is None or self.generations.get(key, generation) == generation:
                end = _read(path)
                self.generations[key] = end.work.generation
                if end.work.study == self.study and generation in (None, end.work.generation):
                    yield end


def _read(path: Path) -> Finished | DeviceLost:
    try:
        end = from_text(path.read_text())
    except (ValueError, KeyError, TypeError):
        end = Fault("damaged")
    if not isinstance(end, Finished | DeviceLost):
        raise Unreachable(f"{path}: is damaged; without it the same command resumes")
    return end
