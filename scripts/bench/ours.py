"""This project's command on the same work.

    python -m scripts.bench.ours small train.precision=bf16

The time runs from the search's first ask to its last tell, Hydra's launch, Optuna and TensorBoard
included, as it runs from the first trial to the last for the others; the pictures and the report
that follow are in the time of the whole process.
"""

import json
import os
import runpy
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scripts.bench.workload import chosen, warm_up
from sweep.show.dashboard import Dashboard
from sweep.study.study import Search


def main() -> None:
    work, more = chosen(), sys.argv[2:]
    rates = ",".join(map(str, work.rates))
    sys.argv = ["sweep.run", f"dropout={rates}", f"model.width={work.width}", *more]
    sys.argv += [f"data.n_train={work.n_train}", f"data.n_val={work.n_val}", "study.seeds=1"]
    sys.argv += [f"train.epochs={work.epochs}", "study.confirm=false"]
    times = note_times()
    warm_up()
    root = os.environ.get("MNIST_ROOT", "data")
    os.environ["MNIST_ROOT"] = str(Path(root).resolve())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            runpy.run_module("sweep.run", run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            assert not ended.code
        (answer,) = Path("runs").glob("*/answer.json")
        losses = [trial["val_loss"]["mean"] for trial in json.loads(answer.read_text())["trials"]]
    begin, end = times
    speed = work.trials * work.epochs / (end - begin)
    result = {"val_loss": sum(losses) / len(losses), "seconds": end - begin}
    print(json.dumps({**result, "trial_epochs_per_second": speed}))


def note_times() -> list[float]:
    """Return a list that will hold when the search began, and when its only generation was told."""
    times: list[float] = []

    def noting(function: Any) -> Any:
        def noted(*args: Any) -> Any:
            times.append(time.perf_counter())
            return function(*args)

        return noted

    Search.run = noting(Search.run)  # type: ignore[method-assign]
    Dashboard.show = noting(Dashboard.show)  # type: ignore[method-assign]
    return times


if __name__ == "__main__":
    main()
