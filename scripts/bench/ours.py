"""This project's command on the same work.

    python -m scripts.bench.ours small train.precision=bf16

The time is what the trials in study.db say: from the ask for the first one to the record of the
last. Hydra's launch, the proof of the model, and the curves in TensorBoard lie between; start-up,
the pictures and the report do not, and are in the time of the whole process.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna

from scripts.bench.timing import tell
from scripts.bench.workload import chosen, warm_up
from sweep import run


def main() -> None:
    (work, _), more = chosen(), sys.argv[2:]
    rates = ",".join(map(str, work.rates))
    sys.argv = ["sweep.run", f"dropout={rates}", f"model.width={work.width}", *more]
    sys.argv += [f"data.n_train={work.n_train}", f"data.n_val={work.n_val}", "study.seeds=1"]
    sys.argv += [f"train.epochs={work.epochs}", "study.confirm=false", "study.name=ours"]
    os.environ["MNIST_ROOT"] = str(Path(os.environ.get("MNIST_ROOT", "data")).resolve())
    warm_up()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        if code := run.main():
            sys.exit(code)
        database = "sqlite:///runs/ours/study.db"
        trials = optuna.load_study(study_name="ours", storage=database).trials
    begin = min(trial.datetime_start for trial in trials if trial.datetime_start)
    end = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    losses = [float(trial.value or 0) for trial in trials]
    tell(work.trials * work.epochs, (end - begin).total_seconds(), losses)


if __name__ == "__main__":
    main()
