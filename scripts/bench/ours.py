"""This project's command on the same work: Hydra, Optuna, TensorBoard and the answer included.

python -m scripts.bench.ours small train.precision=bf16
"""

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path

from scripts.bench.workload import chosen, timed, warm_up
from sweep import study


def main() -> None:
    work, more = chosen(), sys.argv[2:]
    rates = ",".join(map(str, work.rates))
    sys.argv = ["sweep.run", f"dropout={rates}", f"model.width={work.width}", *more]
    sys.argv += [f"data.n_train={work.n_train}", f"data.n_val={work.n_val}", "study.seeds=1"]
    sys.argv += [f"train.epochs={work.epochs}", "study.confirm=false"]
    real = study.run

    def timed_run(*args: object) -> None:  # all but reading the command line
        with timed(work.trials * work.epochs) as result:
            real(*args)  # type: ignore[arg-type]
            (answer,) = Path("runs").glob("*/answer.json")
            trials = json.loads(answer.read_text())["trials"]
            result["val_loss"] = sum(trial["val_loss"]["mean"] for trial in trials) / len(trials)

    study.run = timed_run  # type: ignore[assignment]
    warm_up()
    root = os.environ.get("MNIST_ROOT", "data")
    os.environ["MNIST_ROOT"] = str(Path(root).resolve())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        runpy.run_module("sweep.run", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
