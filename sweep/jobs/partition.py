"""How the trials of a generation are cut into populations, each of them one job's work."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweep.command.rate import is_rate
from sweep.command.space import config_section
from sweep.work import Key, Trial, Work


def architecture(params: Mapping[str, Any]) -> str:
    """Name the numbers of a trial that shape its network, as JSON."""
    numbers = config_section(params, "model.")
    return json.dumps({key: value for key, value in numbers.items() if not is_rate(key)})


def partition(
    trials: Sequence[Trial], n_seeds: int, fuse: int, n_parts: int = 1
) -> list[list[Trial]]:
    """Cut trials into populations: one architecture each, and no more than `fuse` members.

    Each architecture is cut into n_parts of about equal size, one for each of as many workers; the
    largest come first, so that the last to end are small.
    """
    shapes: dict[str, list[Trial]] = {}
    for trial in trials:
        shapes.setdefault(architecture(trial.params), []).append(trial)
    groups = sorted(shapes.items(), key=lambda item: -_shape_size(json.loads(item[0])))
    return [part for _, group in groups for part in _split_group(group, n_seeds, fuse, n_parts)]


def _shape_size(shape: Mapping[str, Any]) -> float:
    return math.prod(v for v in shape.values() if isinstance(v, int | float))


def _split_group(
    group: list[Trial], n_seeds: int, fuse: int, n_parts: int
) -> Iterator[list[Trial]]:
    n = min(len(group), max(n_parts, math.ceil(len(group) / max(1, fuse // n_seeds))))
    for i in range(n):
        yield group[len(group) * i // n : len(group) * (i + 1) // n]


def halves(work: Work) -> tuple[Work, Work]:
    half = len(work.trials) // 2
    first, second = work.trials[:half], work.trials[half:]
    return replace(work, trials=first), replace(work, trials=second)


def isolate_suspects(work: Work, suspects: Sequence[Sequence[Key]]) -> Iterator[Work]:
    """Yield a job's work, but trials of which one lost the device by themselves and in halves."""
    for keys in sorted(suspects, key=len):
        known = [trial for trial in work.trials if (work.generation, trial.number) in keys]
        if known:
            others = [trial for trial in work.trials if trial not in known]
            yield from (half for half in halves(replace(work, trials=known)) if half.trials)
            yield from isolate_suspects(replace(work, trials=others), suspects)
            return
    if work.trials:
        yield work
