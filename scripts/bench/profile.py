"""Where the time of a search goes: each part's own seconds, without those of the parts within it.

    python -m scripts.bench.profile small [train.precision=bf16]

From the first ask to the last tell. "job" is what no other clock covers of a job, such as building
and stacking the members.
"""

import inspect
import time
from collections.abc import Callable
from typing import Any

from scripts.bench import ours
from scripts.bench.workload import chosen
from sweep import batch, job
from sweep.curves import Curves
from sweep.dashboard import Dashboard
from sweep.data import Split
from sweep.engine.noise import Noise
from sweep.engine.optimizer import StackedAdamW
from sweep.engine.population import Population
from sweep.engine.traced import Program
from sweep.engine.vmapped import Skeleton
from sweep.sampler import Chooser
from sweep.study import Search

WORK = {"forward and backward", "forward and backward, untraced", "optimiser", "evaluation"}
CLOCKS: tuple[tuple[Any, str, str], ...] = (
    (Search, "run", "rest"),
    (Chooser, "ask", "Optuna"),
    (Chooser, "tell", "Optuna"),
    (Search, "_tell", "Optuna"),
    (batch, "_run", "Hydra"),
    (job, "train", "job"),
    (job, "prove", "proof"),
    (Dashboard, "show", "answer"),
    (Population, "evaluate", "evaluation"),
    (Population, "_batches", "order of samples"),
    (Skeleton, "gradients", "forward and backward, untraced"),
    (Program, "__call__", "forward and backward"),
    (Program, "_trace", "tracing"),
    (StackedAdamW, "take", "optimiser"),
    (StackedAdamW, "step", "optimiser"),
    (Noise, "__call__", "noise"),
    (Split, "__getitem__", "samples"),
    (Curves, "log", "TensorBoard"),
)


class Profile:
    """Seconds of each part; a part that calls another one does not count its time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.running: list[str] = []
        self.since = 0.0

    def switch(self) -> None:
        now = time.perf_counter()
        if self.running:
            part = self.running[-1]
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self.since
        self.since = now

    def clocked(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def clock(*args: Any, **kwargs: Any) -> Any:
            self.switch()
            # a forward pass without gradients is an evaluation's
            own = part == "forward and backward" and "evaluation" in self.running
            self.running.append("evaluation" if own else part)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch()
                self.running.pop()

        def clock_steps(*args: Any) -> Any:
            self.switch()
            self.running.append(part)
            yield from function(*args)  # what happens between its steps is its own, too
            self.switch()
            self.running.pop()

        return clock_steps if inspect.isgeneratorfunction(function) else clock


def main() -> None:
    work, profile = chosen(), Profile()
    for owner, name, part in CLOCKS:
        setattr(owner, name, profile.clocked(getattr(owner, name), part))
    ours.main()
    del profile.seconds["answer"]  # after the last tell
    whole = sum(profile.seconds.values())
    print(f"\n{work}\n\n| part | seconds | of the whole |\n| --- | ---: | ---: |")
    for part, seconds in sorted(profile.seconds.items(), key=lambda item: -item[1]):
        print(f"| {part} | {seconds:.3f} | {seconds / whole:.1%} |")
    beside = sum(s for part, s in profile.seconds.items() if part not in WORK)
    print(f"| beside forward, backward, optimiser and evaluation | {beside:.3f} | ", end="")
    print(f"{beside / whole:.1%} |")


if __name__ == "__main__":
    main()
