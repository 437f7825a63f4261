"""Studies by Hydra's other launchers: what they find, and what a worker's death costs."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sweep import stop
from sweep.command.arguments import check_installed, hydra_quoted
from sweep.errors import BadInput, Revoked, SweepFailed, Unreachable
from sweep.jobs import claim, job, training
from sweep.jobs.launcher import read_launcher
from sweep.jobs.partition import partition
from sweep.jobs.training import Training
from sweep.work import Trial
from tests.command.test_command import COMMAND, ROOT, command, start
from tests.conftest import job_folders, load_study

STUDY = ["data=mnist5k", "data.n_train=400", "data.n_val=200", "model.width=16", "train.epochs=2"]
STUDY += ["study.seeds=2", "study.n_trials=8", "study.generation=4", "train.device=cpu"]
STUDY += ["study.name=mine"]
LONG = [o for o in STUDY if not o.startswith(("train.epochs", "study.n_trials"))]
LAUNCHERS = [
    pytest.param("joblib", marks=pytest.mark.slow),
    pytest.param("submitit_local", marks=pytest.mark.slow),
    pytest.param("ray", marks=pytest.mark.slow),
]


def use(launcher):
    plugin = {"submitit_local": "submitit"}.get(launcher, launcher)
    pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher", reason=f"{plugin} is missing")
    return f"hydra/launcher={launcher}"


def found(folder):
    return {t.number: (t.params, t.value) for t in load_study(folder / "runs" / "mine").trials}


def same(found, expected):
    """Tell whether trials are the same to what float32 rounds in other compositions."""
    assert found.keys() == expected.keys()
    for number, (params, value) in expected.items():
        assert found[number] == (params, pytest.approx(value, rel=1e-3))


@pytest.fixture(scope="module")
def basic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("basic")
    code, _, err = command(folder, *STUDY)
    assert code == 0, err
    return found(folder)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_finds_the_same(basic, tmp_path, launcher):
    code, out, err = command(tmp_path, use(launcher), *STUDY)
    assert code == 0 and "Use dropout: " in out and "warning" not in err, err
    assert "100%" in err and "best so far" in err
    study = tmp_path / "runs" / "mine"
    same(found(tmp_path), basic)
    ends = [json.loads(path.read_text()) for path in study.glob("jobs/*/result.json")]
    generations = [one["work"]["generation"] for one in ends]
    assert all(generations.count(g) == len(os.sched_getaffinity(0)) for g in (0, 1))
    assert {r["execution"]["threads"] for one in ends for r in one["results"]} == {1}
    for run in study.glob("rate *"):
        events = EventAccumulator(str(run))
        events.Reload()
        assert [point.step for point in events.Scalars("loss/val")] == [1, 2]


def test_a_launcher_is_known_by_its_class_whatever_its_file_is_called():
    joblib = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
    for target, n, is_local in ((joblib, 2, True), ("hydra_plugins.mine.Mine", 1, False)):
        choices, launcher = {"hydra/launcher": "mine"}, {"_target_": target, "n_jobs": 2}
        hydra = OmegaConf.create({"runtime": {"choices": choices}, "launcher": launcher})
        known = read_launcher(hydra, lambda: 0)
        assert (known.n_parallel, known.is_local) == (n, is_local)


def children(pid):
    """Return the processes that come from one, also from its children."""
    tree = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        tree.setdefault(parent, []).append(int(stat.parent.name))
    below = tree.get(pid, [])
    return below + [one for child in below for one in children(child)]


def holders(process, study):
    """Return the processes that train jobs of a study now: they hold the jobs' claims open."""
    claims = {str(path) for path in (study / "jobs").glob("*/claim")}
    return [pid for pid in others(process) if claims & set(opened(pid))]


def others(process):
    pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [pid for pid in pids if pid not in (process.pid, os.getpid())]


def started_by(process):
    """Return the command lines of the processes that a process has started."""
    pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]


def opened(pid):
    try:
        return [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []


def begun(process, study, n=1):
    """Wait until n jobs run that have trained for an epoch; return the processes."""
    while process.poll() is None:
        pids = holders(process, study)
        if len(pids) >= n and len(list(study.glob("jobs/*/progress.json"))) >= n:
            return pids
        time.sleep(0.05)
    raise AssertionError(process.communicate()[1])


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray"])
def test_a_worker_that_is_killed_costs_no_trial(tmp_path, launcher):
    use(launcher)
    arguments = [*LONG, "train.epochs=300", "study.confirm=false", "study.n_trials=4"]
    (tmp_path / "whole").mkdir(), (tmp_path / "killed").mkdir()
    assert command(tmp_path / "whole", *arguments)[0] == 0
    process = start(tmp_path / "killed", f"hydra/launcher={launcher}", *arguments)
    study = tmp_path / "killed" / "runs" / "mine"
    os.kill(begun(process, study, n=2)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "warning: a job was lost: " in err, err
    assert "Traceback" not in err
    trained = load_study(study).trials
    assert [t.state for t in trained] == [TrialState.COMPLETE] * 4
    expected = [t.params for t in load_study(tmp_path / "whole" / "runs" / "mine").trials]
    assert [t.params for t in trained] == expected
    for run in study.glob("rate *"):
        events = EventAccumulator(str(run))
        events.Reload()
        assert [point.step for point in events.Scalars("loss/val")] == list(range(1, 301))


@pytest.mark.slow
def test_ray_trains_where_readme_says_to_type_it(basic, tmp_path):
    """Under `uv run` in the project's folder, Ray would install an environment for each worker."""
    use("ray")
    if Path(sys.prefix) != ROOT / os.environ.get("UV_PROJECT_ENVIRONMENT", ".venv"):
        pytest.skip("`uv run` would make another environment than that of these tests")
    typed = ["uv", "run", "--extra", "ray", "python", *COMMAND[1:], "hydra/launcher=ray"]
    done = subprocess.run(
        [*typed, f"hydra.sweep.dir={tmp_path}/runs", *STUDY],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and "a job was lost" not in done.stderr, done.stderr
    same(found(tmp_path), basic)


DEADLY = """
import os, signal
from pathlib import Path
from torch import nn

class Deadly(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.rate = config.dropout
        self.fc, self.drop = nn.Linear(784, 10), nn.Dropout(config.dropout)
        if self.rate == 0.5 and b"sweep.run" in Path(f"/proc/{os.getppid()}/cmdline").read_bytes():
            os.kill(os.getpid(), signal.SIGKILL)

    def forward(self, x):
        return self.drop(self.fc(x.flatten(1)))
"""


@pytest.mark.slow
def test_a_job_that_always_dies_fails_its_own_trials_only(tmp_path):
    (tmp_path / "deadly.py").write_text(DEADLY)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "deadly.yaml").write_text("_target_: deadly.Deadly\n")
    rest = [o for o in STUDY if not o.startswith(("model.", "study.n_trials", "study.generation"))]
    code, out, err = command(
        tmp_path,
        *(
            use("joblib"),
            "model=deadly",
            "hydra.searchpath=[file://conf]",
            "dropout=0.5,0.0,0.2,0.3",
        ),
        *(*rest, "study.max_retries=1", "train.fuse=2", "study.confirm=false"),
        PYTHONPATH=f"{tmp_path}:{ROOT}",
    )
    # a third time if another job was lost with the pool while it tried the model out
    assert code == 0 and err.count("warning: a job was lost") in (2, 3), err
    trials = load_study(tmp_path / "runs" / "mine").trials
    assert [t.state.name for t in trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert trials[0].user_attrs["reason"].startswith("lost with its job 2 times: ")
    assert "Use dropout: " in out


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray"])
def test_an_interrupt_that_all_processes_hear_is_one_line(tmp_path, launcher):
    """As Ctrl-C in a terminal is."""
    arguments = [use(launcher), *LONG, "study.n_trials=4", "study.confirm=false"]
    process = start(tmp_path, *arguments, "train.epochs=400")
    begun(process, tmp_path / "runs" / "mine", n=2)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and is_interrupted_in_one_line(err), err


@pytest.mark.slow
def test_ray_is_interrupted_while_it_starts(tmp_path):
    process = start(tmp_path, use("ray"), *LONG, "study.confirm=false")
    while not any(b"gcs_server" in name for name in started_by(process)):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and is_interrupted_in_one_line(err), err


def is_interrupted_in_one_line(err):
    *before, line = err.splitlines()  # of the bar, and of Ray's own log
    return (
        line == stop.LINE.strip()
        and "interrupt" not in "".join(before).lower()
        and "Trace" not in err
    )


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray"])
def test_interrupted_workers_end_and_the_same_command_goes_on(tmp_path, launcher):
    arguments = [use(launcher), *LONG, "study.n_trials=4", "study.confirm=false"]
    process = start(tmp_path, *arguments, "train.epochs=400")
    study = tmp_path / "runs" / "mine"
    pids = begun(process, study, n=2)
    process.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "run the same command to resume" in err, err
    while any(Path(f"/proc/{pid}").exists() and opened(pid) for pid in pids):
        assert time.monotonic() - begin < 10
        time.sleep(0.1)
    code, _, err = command(tmp_path, *arguments, "train.epochs=400")
    assert code == 0 and "Traceback" not in err, err
    assert [t.state.name for t in load_study(study).trials] == ["COMPLETE"] * 4


@pytest.mark.slow
def test_the_studies_of_one_command_fill_its_launches_together(tmp_path):
    rest = [o for o in STUDY if not o.startswith(("study.name", "model.", "study.n_trials"))]
    both = ["model=mlp,rnn", "dropout=0.0,0.3", "study.confirm=false", *rest]
    code, out, err = command(tmp_path, use("joblib"), *both)
    assert code == 0, err
    studies = sorted((tmp_path / "runs").glob("*-mnist5k-*"))
    numbers = [job_folders(study) for study in studies]
    assert [study.name[:3] for study in studies] == ["mlp", "rnn"] and numbers == [[0, 1], [2, 3]]
    assert out.count("Use dropout: ") == 2 and out.index("mlp-mnist5k") < out.index("rnn-mnist5k")
    (tmp_path / "alone").mkdir()
    code, _, err = command(tmp_path / "alone", *both)
    assert code == 0, err
    for study in studies:
        alone = load_study(tmp_path / "alone" / "runs" / study.name).trials
        for trial, expected in zip(load_study(study).trials, alone, strict=True):
            assert trial.value == pytest.approx(expected.value, rel=1e-3)


@pytest.mark.slow
def test_no_launcher_is_given_a_password(tmp_path):
    """The storage is SQLite here, whose URL may hold a secret just as well."""
    (tmp_path / "geheim").mkdir()
    storage = f"study.storage=sqlite:///{tmp_path}/geheim/study.db"
    code, _, err = command(tmp_path, use("submitit_local"), storage, *STUDY, "study.confirm=false")
    assert code == 0, err
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    pickles = [path for path in files if path.suffix == ".pkl"]
    assert pickles and not any(b"geheim" in path.read_bytes() for path in pickles)


def test_a_launcher_that_is_not_installed_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, extra in (("joblib", "joblib"), ("submitit_slurm", "submitit"), ("ray", "ray")):
        with pytest.raises(BadInput, match=f"hydra/launcher={name}: .* uv run --extra {extra}"):
            check_installed(name)
    check_installed("basic")


def trial(number, **params):
    return Trial(number, params)


def test_a_generation_is_cut_into_equal_parts_for_all_workers():
    trials = [trial(i, dropout=i / 10) for i in range(9)]
    sizes = [len(part) for part in partition(trials, 3, 64, 4)]
    assert sum(sizes) == 9 and sorted(sizes) == [2, 2, 2, 3]
    assert [t for part in partition(trials, 3, 64, 4) for t in part] == trials
    assert [len(part) for part in partition(trials, 3, 6, 1)] == [1, 2, 2, 2, 2]
    assert len(partition(trials[:2], 3, 64, 8)) == 2
    wide = [trial(9 + i, **{"dropout": 0.1, "model.width": 512}) for i in range(2)]
    narrow = [trial(20 + i, **{"dropout": 0.1, "model.width": 8}) for i in range(2)]
    parts = partition([*narrow, *wide], 1, 64, 2)
    assert [part[0].params["model.width"] for part in parts] == [512, 512, 8, 8]


def test_jobs_side_by_side_take_a_gpu_each(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert [str(job.pick_device("auto", n)) for n in (0, 1, 5, 7)] == [
        *("cuda", "cuda:1", "cuda:1", "cuda:3")
    ]
    assert str(job.pick_device("cuda:2", 5)) == "cuda:2" and job.pick_device("cpu", 5).type == "cpu"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert str(job.pick_device("auto", 3)) == "cpu"


def test_a_job_that_runs_is_waited_for_and_one_that_is_late_does_nothing(tmp_path, capsys):
    running, late, ended = tmp_path / "0", tmp_path / "1", threading.Event()
    running.mkdir()

    def run():
        with claim.hold_claim(running):
            started.set()
            time.sleep(0.5)
            ended.set()

    started = threading.Event()
    threading.Thread(target=run).start()
    assert started.wait(5)
    claim.revoke_and_wait([running, late])
    assert ended.is_set() and "waiting for" in capsys.readouterr().err
    for folder in (running, late):
        with pytest.raises(Revoked), claim.hold_claim(folder):
            raise AssertionError("it must not run")


def test_what_a_job_could_not_write_its_owner_does(sweep, monkeypatch, tmp_path):
    """As where they share no folder: the files of the jobs are gone when the launcher returns."""
    expected = points(sweep("dropout=0.0,0.25", "study.name=shared"))
    real, gone = Training.accept, []

    def accept(training, number, end):
        for path in [*training.folder.glob("rate */*"), *training.folder.glob("jobs/*/r*")]:
            gone.append(path.name[:6])
            path.unlink()
        real(training, number, end)

    monkeypatch.setattr(Training, "accept", accept)
    folder = sweep("dropout=0.0,0.25", "study.name=mine")
    assert sorted(gone) == ["events", "events", "result"]
    assert points(folder) == expected and len(expected) == 2
    assert [t.state for t in load_study(folder).trials] == [TrialState.COMPLETE] * 2
    assert list(folder.glob("jobs/*/result.json"))


def points(folder):
    """Return the curves of each trial, without the values that the report has of it."""
    curves = {}
    for run in sorted(folder.glob("rate *")):
        events = EventAccumulator(str(run))
        events.Reload()
        tags = sorted(t for t in events.Tags()["scalars"] if not t.startswith("reported/"))
        curves[run.name] = [[(p.step, p.value) for p in events.Scalars(tag)] for tag in tags]
    return curves


@pytest.fixture
def cluster(tmp_path):
    """A Ray cluster that runs, and has a file system of its own where the studies are."""
    use("ray")
    if os.getuid() or not shutil.which("unshare"):
        pytest.skip("only root can give processes a file system of their own")
    env = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    env |= {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": "/tmp"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "runs").mkdir()
    ray = f"{Path(sys.executable).parent}/ray"
    begin = f"{ray} start --head --port={port} --num-cpus=2 --include-dashboard=false"
    begin = f"exec {begin} --disable-usage-stats --block"
    own = f"mount -t tmpfs none {tmp_path}/runs && {begin}"
    with (tmp_path / "cluster.log").open("w") as log:
        cluster = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", own], env=env, stdout=log, stderr=log
        )
    ready = [ray, "status", f"--address=127.0.0.1:{port}"]
    while subprocess.run(ready, env=env, capture_output=True).returncode:
        assert cluster.poll() is None, (tmp_path / "cluster.log").read_text()
    env["RAY_ADDRESS"] = f"127.0.0.1:{port}"  # which `auto` reads, or it might find another test's
    yield {key: env[key] for key in env if key.startswith("RAY_")}
    cluster.terminate()  # and not `ray stop`, which would stop those of other tests as well
    cluster.wait(60)


@pytest.mark.slow
def test_machines_that_share_no_folder(basic, cluster, tmp_path):
    running = ["hydra/launcher=ray", "hydra.launcher.ray.init.address=auto"]
    code, _, err = command(tmp_path, *running, *STUDY, **cluster)
    assert code == 0, err
    same(found(tmp_path), basic)
    study = tmp_path / "runs" / "mine"
    assert not list(study.glob("jobs/*/job.log")), "the jobs wrote elsewhere"
    runs = points(study)
    assert len(runs) >= 8 and all(len(curve) == 2 for tags in runs.values() for curve in tags)


@pytest.mark.parametrize("path", ["/a b/c", "/it's", '/"x"', r"/a\b", r"/a\\b", "/a\\", r"/a\'b"])
def test_a_path_reaches_a_job_as_it_is(path):
    override = OverridesParser.create().parse_override(f"data.root='{hydra_quoted(path)}'")
    assert override.value() == path


def test_a_study_that_fails_leaves_the_others_alone(sweep, monkeypatch, tmp_path):
    real = job.train_population

    def train(config, *rest):
        return 1 / 0 if config.data["n_train"] == 150 else real(config, *rest)

    monkeypatch.setattr(job, "train_population", train)
    with pytest.raises(SweepFailed, match="ZeroDivisionError"):
        sweep("dropout=0.0,0.2", "data.n_train=150,200")
    ended = [load_study(path.parent).trials for path in tmp_path.glob("runs/*/answer.json")]
    assert [[t.state for t in trials] for trials in ended] == [[TrialState.COMPLETE] * 2]


def test_a_job_whose_result_is_never_there_is_not_run_for_ever(sweep, monkeypatch):
    real, trained = job.train_population, []

    def train(*given):
        trained.append(given)
        return real(*given)

    monkeypatch.setattr(job, "train_population", train)
    for module in (job, training):
        monkeypatch.setattr(module, "write_result", lambda folder, end: None)
    with pytest.raises(Unreachable, match=r"no result\); run the same command to resume"):
        sweep("dropout=0.0,0.2", "study.max_retries=1")
    assert len(trained) == 2


def test_two_commands_that_come_to_one_study_are_one(sweep, capsys):
    missing = ["data.download=false", "study.baseline=false", "dropout=0.0,0.2"]
    folder = sweep("data.root=nowhere,elsewhere", "data=mnist", *missing)
    assert len(load_study(folder).trials) == 2
    assert capsys.readouterr().out.count("Use dropout: ") == 1
