"""The command as typed: exit codes, one line for a mistake, nothing written."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields

import pytest
from hydra.core.global_hydra import GlobalHydra

from sweep.command.config import SAMPLERS, StudyConfig, TrainConfig
from sweep.errors import mask_passwords
from sweep.places import CONF
from sweep.run import main
from sweep.study.storage import short_reason
from tests.conftest import TINY

ROOT = CONF.parent
COMMAND = [sys.executable, "-m", "sweep.run"]


def start(folder, *arguments, **environment):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HYDRA_FULL_ERROR": "0", **environment}
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=env,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def command(folder, *arguments, **environment):
    process = start(folder, *arguments, **environment)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


BAD = [
    (["dropout=1.5"], "dropout=1.5: a rate must be at least 0 and below 1"),
    (["dropout=0,5"], "use a point"),
    (["dropout=abc"], "dropout=abc"),
    (["dropout=["], "dropout=["),
    (["dropout=interval(0.6,0.1)"], "must be below the second"),
    (["droput=0.3"], "droput"),
    (["droput=0.3,0.4"], "droput"),
    (["model.wdith=64"], "wdith"),
    (["model.dropout=0.3"], "use dropout="),
    (["model=nope"], "model=nope: must be one of cnn, gpt, mlp, rnn, transformer"),
    (["model=mlp,nope"], "model=nope: must be one of"),
    (["study.n_trials=0"], "study.n_trials=0: must be from 1 to 10000"),
    (["study.n_trials=1.5"], "study.n_trials=1.5"),
    (["study.name=../../x"], "study.name=../../x: must be up to 64 letters"),
    (["study.name=???"], "study.name=???"),
    (["study.name=${nosuch}"], "nosuch"),
    (["study.storage=postgres://user:secret@host/db"], "postgresql+psycopg://"),
    (["train.device=tpu"], "must be auto, cpu, cuda or cuda:<n>"),
    (["train.epochs=0"], "train.epochs=0: must be from 1 to 1000000"),
    (["train.lr=nan"], "train.lr=nan"),
    (["hydra.sweeper.n_trials=3"], "hydra.sweeper.n_trials: is for sweepers such as hydra-optuna-"),
    (["hydra.sweeper.n_trials=3,5"], "here it is study.n_trials="),
    (["hydra.sweeper.study_name=mine"], "here it is study.name="),
    (["hydra.sweeper.storage='sqlite:///x?password=secret'"], "here it is study.storage="),
    (["hydra.sweeper.storage=null"], "here it is study.storage="),
    (["hydra.sweeper.n_jobs=4"], "here it is hydra/launcher=joblib"),
    (["hydra.sweeper.direction=maximize"], "here it is nothing: study.metric is minimised"),
    (["hydra.sweeper.direction=[minimize,maximize]"], "study.metric is minimised"),
    (["hydra.sweeper.max_failure_rate=0.5"], "a failed trial never stops the others"),
    (["hydra.sweeper.params.dropout=interval(0,0.5)"], "here it is dropout=..."),
    (["+hydra.sweeper.params.train.lr='tag(log, interval(1e-4, 1e-2))'"], "here it is train.lr="),
    (["hydra.sweeper.params={dropout:'interval(0,0.5)'}"], "such as dropout=interval(0,0.8)"),
    (["~hydra.sweeper.params.dropout"], "here it is dropout=..."),
    (["hydra.sweeper.search_space={dropout:{type:float}}"], "such as dropout=interval(0,0.8)"),
    (["+hydra.sweeper.search_space.dropout.low=0"], "such as dropout=interval(0,0.8)"),
    (["hydra.sweeper.custom_search_space=my.function"], "such as dropout=interval(0,0.8)"),
    (["hydra/sweeper=optuna"], "hydra/sweeper: is for sweepers such as hydra-optuna-sweeper; here"),
    (["hydra/sweeper=basic"], "Optuna proposes the trials anyway; leave it out"),
    (["hydra/sweeper/sampler=tpe"], "sampler=..., one of zoom, tpe, gp, qmc, random; lists alone"),
    (
        ["+hydra/sweeper/sampler=cmaes"],
        "sampler=..., one of zoom, tpe, gp, qmc, random; lists alone",
    ),
    (["hydra.sweeper.sampler._target_=optuna.samplers.TPESampler"], "one of zoom, tpe, gp, qmc"),
    (["hydra.sweeper.sampler.seed=3"], "here it is sampler.seed="),
    (["+hydra.sweeper.sampler.seed=1,2"], "here it is sampler.seed="),
    (["hydra.sweeper.sampler.multivariate=true"], "of a sampler only sampler.seed can be set"),
    (["hydra.sweeper.sampler.n_startup_trials=5"], "of a sampler only sampler.seed can be set"),
    (["hydra.sweeper.max_batch_size=3"], "of Hydra's own keys only"),
    (["hydra.sweeper.nothing=3"], "of Hydra's own keys only"),
    (["model=range(1,3)"], "model=range(1,3): must be the name of a file in conf/model"),
    (["dropout=choice([0.1,0.2])"], "dropout=[0.1, 0.2]: must be a finite number"),
    (["dropout=0.1,'0.2'"], "dropout='0.2': must be a number"),
    (["dropout=str(choice(0.1,0.2))"], "dropout=0.1: must be a number"),
    (["model.width=bool(choice(0,1))"], "model.width=False: must be a number"),
    (["dropout=shuffle(interval(0,0.5))"], "IntervalSweep is incompatible"),
    (["dropout=tag(x,interval(0,0.5))"], "tag 'x' is unknown; only log is allowed"),
    (["train.optimizer=choice(adamw,sgd)"], "and what study.each lists"),
    (["++dropout=interval(0,0.5)"], "keys cannot be added or removed"),
    (["hydra.mode=RUN"], "leave it out"),
    (["model.width=0", *TINY[:1]], "width must be at least 1"),
    (["model.width=abc", *TINY[:1]], "model.width=abc"),
    (
        ["model._target_=os.system", *TINY[:1]],
        "model._target_=os.system: cannot be imported: Target",
    ),
    (
        ["model._target_=sweep.workload.digits.mnist5k", *TINY[:1]],
        "must be a subclass of torch.nn.Module",
    ),
    (["data.n_train=9999", *TINY[:1]], "from 1 to 3000"),
    (["data.n_train=true", *TINY[:1]], "from 1 to 3000"),
    (["data.split_seed=null", *TINY[:1]], "data.split_seed=None: must be a whole number"),
    (["data._target_=os.getcwd", *TINY[:1]], "must be a function (config, split)"),
    (["model.input_dropout=1", *TINY[:1]], "model.input_dropout=1: a rate must be"),
    (["model=null"], "model=null: must be the name of a file in conf/model"),
    (["+train.momentum=1"], "+train.momentum=1: keys cannot be added or removed"),
    (["~train"], "cannot be added or removed"),
    (["train.lr=1", "train.lr=0.1"], "train.lr is given twice"),
    (["study.each=[study.seeds]", "study.seeds=1,2"], "study.each=[study.seeds]: must be"),
    (["dropout=range(0,0.5,1e-9)"], "must be from 0 to 10000"),
    (["study.generation=1"], "study.generation=1: must be at least 2"),
    (["sampler.seed=-1"], "sampler.seed=-1: must be from 0"),
    (["study.n_trials=99999999999"], "must be from 1 to 10000"),
    (["work=x"], "work=x: is set by the study"),
    (["hydra.sweep.subdir=x"], "of Hydra's own keys only hydra/launcher"),
    (["++hydra.mode=RUN"], "leave it out"),
    (["dropout=1.0"], "dropout=1.0: a rate must be at least 0 and below 1"),
    (["dropout=nan"], "dropout=nan: must be a finite number"),
    (["dropout=inf"], "dropout=inf: must be a finite number"),
    (["dropout='0.5'"], "dropout=0.5: must be a number"),
    (["dropout=true"], "dropout=true: must be a number"),
    (["dropout=null"], "dropout=null: must not be null"),
    (["dropout="], "dropout=: must be a number"),
    (["dropout=[0.1,0.2]"], "dropout=[0.1,0.2]: must be a number"),
    (["dropout=interval(0.3,0.3)"], "must be below the second"),
    (["dropout=interval(nan,0.5)"], "dropout=nan: must be a finite number"),
    (["dropout=interval(0,inf)"], "dropout=inf: must be a finite number"),
    (["dropout=interval('0','0.5')"], "incompatible with Union[int, float]"),
    (["dropout=interval(1.2,1.5)"], "dropout=1.2: a rate must be"),
    (["dropout=interval(-0.2,-0.1)"], "dropout=-0.2: a rate must be"),
    (["dropout=tag(log,interval(0,0.5))"], "with log the first number must be above 0"),
    (["dropout=tag(log,range(0.1,0.5,0.1))"], "allowed on intervals only"),
    (["dropout=range(0,0.5,0)"], "the step must be finite and not 0"),
    (["dropout=range(0,0.5,-0.1)"], "holds no value"),
    (["dropout=range(0,0.5,0.2)"], "the step must divide the range"),
    (["dropout=choice()"], "empty choice is not legal"),
    (["dropout=0.1,1.2"], "dropout=1.2: a rate must be"),
    (["dropout=0.1,"], "not Hydra's syntax"),
    (["dropout=shuffle(0.1,0.2)"], "shuffle is not allowed"),
    (["dropout=glob(*)"], "glob chooses among config groups"),
    (["dropout=0.1,0.2", "dropout=0.3"], "dropout is given twice"),
    (["dropout@x=0.3"], "config group 'dropout' does not exist"),
    (["+dropout=0.3"], "cannot be added or removed"),
    (["dropuot=0.1,0.3"], "did you mean dropout?"),
    (["dropout"], "dropout: must be <key>=<value>"),
    (["=3"], "=3: must be <key>=<value>"),
    (["study.n_trials=-1"], "study.n_trials=-1: must be from 1"),
    (["study.n_trials='3'"], "study.n_trials='3': must be a number"),
    (["study.n_trials=null"], "study.n_trials=null: must not be null"),
    (["study.n_trials=4", "dropout=range(0,0.6,0.1)"], "the lists make 6 trials, each once"),
    (["study.n_trial=3"], "did you mean study.n_trials?"),
    (["study.seeds=0"], "study.seeds=0: must be from 1"),
    (["study=3"], "study=3"),
    (["train=null"], "train=null: must not be null"),
    (["train.fuse=0"], "train.fuse=0: must be auto or at least 1"),
    (["train.lr=-1"], "train.lr=-1.0: must be above 0"),
    (["train.lr=interval(-1,1)"], "train.lr=-1.0: must be above 0"),
    (["train.lr=0.1,interval(0.1,1)"], "an interval cannot be in a list"),
    (["train.epochs=1,0"], "train.epochs=0: must be from 1"),
    (["train.precision=fp8"], "must be one of float32, bf16"),
    (["train.batch_size=4000", *TINY[:1]], "train.batch_size=4000: must be at most the 3000"),
    (["trian.lr=1"], "did you mean train.lr?"),
    (["train.leraning_rate=1"], "among train.epochs, train.batch_size, train.eval_batch_size"),
    (["train.n_trials=1"], "did you mean study.n_trials?"),
    (["model=mpl"], "did you mean mlp?"),
    (["data=minst"], "did you mean mnist?"),
    (["data.root=null", *TINY[:1]], "there is no data.root among data."),
    (["sampler=tep"], "sampler=tep: must be one of gp, qmc, random, tpe, zoom; did you mean tpe?"),
    (["sampler.seed=1.5"], "sampler.seed=1.5: must be a whole number"),
    (["study.prune=hyperband"], "must be one of none, halving"),
    (["study.prune=halving", "train.epochs=3"], "needs 4 epochs"),
    (["study.storage=foo"], "must be sqlite:///<file>"),
    (["study.storage=mysql+pymysql://u:secret@h/d"], "must be sqlite:///<file> or postgresql"),
    (["study.storage=sqlite://"], "must be sqlite:///<file>"),
    (["study.storage=postgresql+psycopg://u:sec{ret@h/d"], "u:***@h/d: not Hydra's syntax"),
    (["study.name=''"], "study.name=: must be up to 64 letters"),
    (["study.name=" + 65 * "a"], "must be up to 64 letters"),
    (["study.name='a\nb'"], "must be up to 64 letters"),
    (["study.name=."], "must be up to 64 letters"),
    (["study.name=\N{GRINNING FACE}"], "not Hydra's syntax"),
    (["train.device=mps"], "must be auto, cpu, cuda or cuda:<n>"),
    (["hydra/launcher=joblb"], "hydra/launcher=joblb: must be one of"),
    (["hydra.job.chdir=true"], "of Hydra's own keys only"),
    (["hydra.sweeper._target_=os.system"], "of Hydra's own keys only"),
    (["hydra.launcher._target_=os.system"], "of Hydra's own keys only"),
    (["+hydra.callbacks.x._target_=os.system"], "of Hydra's own keys only"),
    (["hydra.job_logging.handlers={x:os.system}"], "of Hydra's own keys only"),
    (["hydra.sweep.dir=null"], "hydra.sweep.dir=null: must not be null"),
    (["hydra.sweep.dir=/dev/null/x", *TINY[:1]], "/dev/null/x: /dev/null is not a folder"),
    (["~model"], "cannot be added or removed"),
    (["model.input_dropout=abc", *TINY[:1]], "model.input_dropout=abc: must be a number"),
    (["model.input_dropout=interval(0,1)"], "model.input_dropout=1.0: a rate must be"),
    (["dropout=${train.lr}"], "dropout=${train.lr}: must be a number"),
    (["study.each=[1]"], "study.each=[1]: must be keys"),
    (["study.each=null"], "study.each=null: must not be null"),
    (["study={storage:'sqlite:///x?password=secret'}"], "study: set its keys one by one"),
    (["train={lr:1}"], "train: set its keys one by one, such as train.<key>=<value>"),
    (["model=mlp,null"], "model=mlp,null: must be the name of a file in conf/model"),
    (["model=[0.1]"], "model=[0.1]: must be the name of a file in conf/model"),
    (["hydra/launcher=null"], "hydra/launcher=null: must be the name of a launcher"),
    (["--resolve", "data=mnist5k"], "--resolve and --package: are for what --cfg shows"),
    (["data=mnist5k", "-cn"], "argument --config-name/-cn: expected one argument"),
    (["--foo"], "--foo: unknown flag; settings are <key>=<value>"),
    ([""], "'': must be <key>=<value>"),
    (["study.storage='postgresql+psycopg://u:sec ret@h:abc/d'", *TINY[:1]], "u:***@h:abc/d: "),
    (["study.max_retries=-1"], "study.max_retries=-1: must be from 0 to 100"),
    (["train.optimizer=adam"], "train.optimizer=adam: must be one of adamw, sgd"),
    (["train.optimizer=adamw,sgd"], "train.optimizer cannot be swept"),
    (["train.momentum=0.9"], "train.momentum=0.9: is for sgd only, and the optimizer is adamw"),
    (["train.momentum=1", "train.optimizer=sgd"], "train.momentum=1.0: must be at least 0 and"),
    (["train.momentum=-0.1", "train.optimizer=sgd"], "train.momentum=-0.1: must be at least 0"),
    (["train.momentum=nan", "train.optimizer=sgd"], "train.momentum=nan: must be at least 0"),
    (["train.momentum=0,0.9", "train.optimizer=sgd"], "train.momentum cannot be swept"),
    (["train.nesterov=true"], "train.nesterov=true: is for sgd only"),
    (["train.nesterov=true", "train.optimizer=sgd"], "true: needs train.momentum above 0"),
    (["train.nesterov=maybe", "train.optimizer=sgd"], "train.nesterov=maybe"),
    (["train.clip_norm=0"], "train.clip_norm=0.0: must be null, or above 0 and finite"),
    (["train.clip_norm=-1"], "train.clip_norm=-1.0: must be null, or above 0"),
    (["train.clip_norm=nan"], "train.clip_norm=nan: must be null, or above 0"),
    (["train.clip_norm=inf"], "train.clip_norm=inf: must be null, or above 0"),
    (["train.clip_norm=none"], "train.clip_norm=none: must be a number"),
    (["train.warmup=-1"], "train.warmup=-1.0: must be at least 0 and below train.epochs=10"),
    (["train.warmup=nan"], "train.warmup=nan: must be at least 0 and below"),
    (["train.warmup=2", "train.epochs=3,2"], "train.warmup=2.0: must be at least 0 and below"),
    (["train.warmup=null"], "train.warmup=null: must not be null"),
]


@pytest.mark.parametrize(
    ("url", "mistaken"),  # and what a driver may take for something else
    [
        ("postgresql+psycopg://user:TOP SECRET@here:5432/db", "SECRET@here"),
        ("postgresql+psycopg://user:TO/P S@EC:RET@here:5432/db", "RET@here"),
        ("postgresql+psycopg://here/db?user=user&password=TOP SECRET", "SECRET"),
        ("postgresql+psycopg://here/db?password=a@TOP%20SECRET&user=user", "TOP SECRET"),
    ],
)
def test_a_password_is_told_nowhere_whatever_is_in_it(url, mistaken):
    error = OSError(f"connection to {url} failed: no host {mistaken!r}")
    said = f"study.storage={mask_passwords(url)}: {short_reason(error, url)}"
    for text in (said, mask_passwords(said)):
        assert "here" in text and "user" in text
        assert not re.search("TOP|SECRET|TO/P|S@EC|RET", text)


def is_one_line(code, out, err, complaint):
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and err.startswith("error: ") and complaint in err
    assert "secret" not in err and "sec{ret" not in err


@pytest.mark.parametrize(("arguments", "complaint"), BAD, ids=[b[0][0] for b in BAD])
def test_a_mistake_is_one_line_and_writes_nothing(
    tmp_path, monkeypatch, capsys, arguments, complaint
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sweep.run", *arguments])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    code = main()
    GlobalHydra.instance().clear()
    is_one_line(code, *capsys.readouterr(), complaint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "complaint"), BAD[::9], ids=[b[0][0] for b in BAD[::9]])
def test_and_so_it_is_in_a_process_of_its_own(tmp_path, arguments, complaint):
    is_one_line(*command(tmp_path, *arguments), complaint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_terminal_that_knows_ascii_only_costs_no_answer(tmp_path):
    arguments = ["dropout=0.0,0.2", *TINY]
    code, out, err = command(tmp_path, *arguments, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert code == 0 and "Use dropout: " in out and " ? 0." in out, err
    (report,) = tmp_path.glob("runs/*/report.md")
    assert " \N{PLUS-MINUS SIGN} " in report.read_text(encoding="utf-8")


def test_cuda_that_is_not_there(tmp_path):
    code, out, err = command(tmp_path, "train.device=cuda:99", *TINY[:5])
    assert (code, out) == (2, "") and "train.device=cuda:99: this machine has" in err
    assert list(tmp_path.iterdir()) == []


def test_missing_data_without_a_fallback_are_exit_3(tmp_path):
    arguments = ["data.root=nowhere", "data.download=false", "data.fallback=null"]
    code, out, err = command(tmp_path, *arguments)
    assert (code, out) == (3, "")
    assert err == "error: MNIST is not in nowhere and data.download is false\n"
    assert list(tmp_path.iterdir()) == []


def test_a_driver_that_is_missing_is_named_with_how_to_get_one(tmp_path):
    code, out, err = command(
        tmp_path, "study.storage=postgresql+psycopg2://u:secret@localhost/d", *TINY
    )
    assert (code, out) == (3, "") and err.count("\n") == 1 and "secret" not in err
    assert "No module named 'psycopg2'; try uv run --extra postgresql" in err
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_key(tmp_path):
    code, out, _ = command(tmp_path, "--help")
    assert code == 0
    shown = set(re.findall(r"[\w.]+", out))
    keys = {f"train.{f.name}" for f in fields(TrainConfig)}
    keys |= {f"study.{f.name}" for f in fields(StudyConfig)}
    data = (CONF / "data" / "mnist.yaml").read_text()
    keys |= {f"data.{key}" for key in re.findall(r"^(\w+):", data, re.M) if key != "_target_"}
    assert keys <= shown
    for group in ("data", "model"):
        assert {path.stem for path in (CONF / group).glob("*.yaml")} <= shown
    assert set(SAMPLERS) <= shown
    # and the defaults that it names are the defaults
    for config in (TrainConfig(), StudyConfig()):
        for field in fields(config):
            line = next(
                x for x in out.splitlines() if x.split()[:1] == [f"{_prefix(config)}.{field.name}"]
            )
            value = getattr(config, field.name)
            typed = {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
            assert line.split()[1] == typed


def _prefix(config):
    return "train" if isinstance(config, TrainConfig) else "study"


def test_cfg_shows_what_a_job_trains(tmp_path):
    code, out, _ = command(tmp_path, "--cfg", "job")
    assert code == 0 and "_target_: models.mlp.MLP" in out and "batch_size: 128" in out


@pytest.mark.parametrize("shown", [["--cfg", "job"], ["--cfg", "all"], ["--info", "config"]])
def test_what_is_shown_has_no_password(tmp_path, shown):
    url = "postgresql+psycopg://team:geheim@127.0.0.1/mine"
    code, out, err = command(tmp_path, *shown, f"study.storage={url}")
    assert code == 0 and "geheim" not in out + err and "team:***@127.0.0.1" in out


def test_a_sweep_from_the_command_line(tmp_path):
    code, out, err = command(tmp_path, "-m", "dropout=0.0,0.25", "study.name=mine", *TINY)
    assert code == 0 and "tensorboard --logdir runs" in out
    assert re.findall(r"^ +(rate|[\d.]+) ", out, re.M) == ["rate", "0", "0.25"]
    assert "Use dropout: " in out and "best so far" in err and "100%" in err
    assert (tmp_path / "runs" / "mine" / "study.db").exists()


WATCHED = """
import sys
def hook(event, args):
    loopback = event == "socket.bind" and args[1][0] == "::1"  # urllib3 tries it, if installed
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"):
        if loopback:
            return
        print("SOCKET", event, args, file=sys.stderr)
sys.addaudithook(hook)
from sweep.run import main
sys.exit(main())
"""


def test_a_sweep_opens_no_socket(tmp_path):
    arguments = ["dropout=0.0,0.25", "study.name=mine", *TINY]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    watched = [sys.executable, "-c", WATCHED, *arguments]
    done = subprocess.run(watched, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "SOCKET" not in done.stderr, done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_interrupted_and_gone_on(tmp_path, number, code):
    tiny = [o for o in TINY if not o.startswith("train.epochs")]
    arguments = ["dropout=0.0,0.25", "study.name=mine", *tiny, "train.epochs=100000"]
    process = start(tmp_path, *arguments)
    events = tmp_path / "runs" / "mine" / "rate 0.25 trial 01"
    while not list(events.glob("*")):
        assert process.poll() is None
        time.sleep(0.1)
    second = command(tmp_path, *arguments)
    assert (
        second[0] == 2
        and f"study.name=mine: already running in process {process.pid} on " in second[2]
    )
    process.send_signal(number)
    begin = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and time.monotonic() - begin < 10
    assert "run the same command to resume" in err and "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_is_one_line_whenever_it_comes(tmp_path, times):
    arguments = ["dropout=0.0,0.25", "study.name=mine", *TINY[1:4], "data=mnist5k"]
    for tenths in range(3, 60, 6):
        process = start(tmp_path, *arguments, "train.epochs=100000")
        time.sleep(tenths / 10)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        out, err = process.communicate(timeout=60)
        # -2: before there is anything to resume, Python itself ends by the signal
        assert process.returncode in (130, -2) and not out, err
        assert "Traceback" not in err and err.count("interrupted; run the same command") == 1, err
