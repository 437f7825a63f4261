"""Config files of the user's own: what they may set, and where they are looked for."""

import os
import re
import subprocess
import sys
import warnings
from textwrap import dedent

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from sweep import check
from sweep.errors import BadInput
from sweep.run import main
from tests.command.test_command import ROOT, command, is_one_line

TINY = """
data: {n_train: 200, n_val: 100}
model: {width: 16}
train: {epochs: 1, device: cpu}
study: {seeds: 2, confirm: false, name: tiny}
"""
OWN = "defaults:\n  - dropout_sweep\n  - override data: mnist5k\n  - _self_\n" + TINY
EXPERIMENT = "# @package _global_\ndefaults:\n  - override /data: mnist5k\n" + TINY
REFUSED = {  # of hydra: -> what is said
    "mode: RUN": "hydra.mode=RUN: a study is a multirun; leave it out",
    "sweep: {subdir: '${hydra.job.num}'}": "hydra.sweep.subdir=${hydra.job.num}: of Hydra's own",
    "sweeper: {_target_: os.system}": "hydra.sweeper._target_=os.system: must be hydra_plugins.",
    "launcher: {_target_: os.system}": "hydra.launcher._target_=os.system: must be a launcher",
    "callbacks: {x: {_target_: os.system, command: touch here}}": "hydra.callbacks.x=",
    "job: {chdir: true}": "hydra.job.chdir=True: of Hydra's own keys",
    "job: {env_set: {A: b}}": "hydra.job.env_set.A=b: of Hydra's own keys",
    "output_subdir: null": "hydra.output_subdir=None: of Hydra's own keys",
    "verbose: 7": "hydra.verbose=7: must be true, false, or the names of loggers",
    "launcher: {_target_: hydra_plugins.nope.X}": "hydra.launcher._target_=hydra_plugins.nope.X: c",
    "launcher: {_target_: hydra_plugins.study_sweeper.StudySweeper}": "hydra.launcher._target_=hy",
    "launcher: null": "hydra.launcher._target_=None: must be a launcher",
    "sweeper: null": "hydra.sweeper._target_=None: must be hydra_plugins.",
    "sweeper: {params: {dropout: [0.0, 0.2]}}": "hydra.sweeper.params.dropout=[0.0, 0.2]: must be",
    "job_logging: {handlers: {file: {filename: here}}}": "hydra.job_logging.handlers.file.filename",
    "hydra_logging: {handlers: {x: {class: logging.FileHandler, filename: here}}}": "hydra_logging",
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command in tmp_path/here, beside tmp_path/conf and others."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def typed(*arguments):
        monkeypatch.setattr(sys, "argv", ["sweep.run", *arguments])
        code = main()
        return (code, *capsys.readouterr())

    return typed


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(("line", "complaint"), REFUSED.items(), ids=REFUSED)
def test_a_file_may_set_no_more_than_is_typed(run, tmp_path, line, complaint):
    write(tmp_path / "mine" / "own.yaml", f"{OWN}hydra:\n  {line}\n")
    is_one_line(*run("dropout=0.0,0.2", "-cd", "../mine", "-cn", "own"), complaint)
    assert list((tmp_path / "here").iterdir()) == []
    write(tmp_path / "here" / "conf" / "experiment" / "x.yaml", f"{EXPERIMENT}hydra:\n  {line}\n")
    write(tmp_path / "here" / "conf" / "experiment" / "y.yaml", EXPERIMENT)
    is_one_line(*run("dropout=0.0,0.2", "+experiment=x"), complaint)
    # of what is swept, Hydra 1.4 refuses two of these itself
    is_one_line(*run("dropout=0.0,0.2", "+experiment=y,x"), complaint.partition("._target_")[0])
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["conf"]


FILES = {  # what stands in a file of its own -> what is said
    OWN + "dropout: 0.3\n": "dropout=0.3: a config file says what is searched in hydra.sweeper",
    OWN + "work: x\n": "work=x: is set by the study",
    OWN + "hydra: null\n": "config files: cannot be composed",
    OWN + "hydra: {job: {env_copy: [NOPE]}}\n": "config files: cannot be composed (KeyError",
    OWN + "hydra: {sweeper: {params: {dropout: 'no('}}}\n": "hydra.sweeper.params.dropout=no(: not",
    OWN
    + "hydra: {sweeper: {params: {dropout: '${oc.env:NO}'}}}\n": "hydra.sweeper.params.dropout=$",
    OWN + "hydra: {sweeper: {params: {work: x}}}\n": "hydra.sweeper.params.work=x: is set by",
    OWN.replace("data: mnist5k", "model: [mlp, cnn]"): "model: a defaults list must choose one",
    OWN.replace("data: mnist5k", "hydra/job_logging: none"): "hydra/job_logging=none: of Hydra's",
    "defaults:\n  - dropout_sweep\n  - own\n  - _self_\n": "a defaults list names itself",
    OWN + "# M\udcfcller\n": "own: is not in UTF-8",
}


@pytest.mark.parametrize("text", FILES)
def test_a_file_that_is_wrong_is_told_in_a_line(run, tmp_path, text):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.yaml").write_bytes(text.encode(errors="surrogateescape"))
    is_one_line(*run("train.lr=0.01", "-cd", "../mine", "-cn", "own"), FILES[text])
    assert list((tmp_path / "here").iterdir()) == []


def test_a_check_and_what_is_shown_refuse_what_a_run_refuses(run, tmp_path, monkeypatch):
    write(
        tmp_path / "mine" / "own.yaml", f"{OWN}hydra:\n  callbacks: {{x: {{_target_: os.abort}}}}\n"
    )
    source = ["-cp", "../mine", "-cn", "own"]
    is_one_line(*run(*source, "--cfg", "job"), "hydra.callbacks.x=")
    with pytest.raises(BadInput, match=r"hydra\.callbacks\.x="):
        check.check_model(source)
    with pytest.raises(BadInput, match="what Hydra shows is shown by"):
        check.check_model(["--cfg", "job"])


def test_own_folders_are_looked_into_in_order(run, tmp_path):
    """What is typed, then ./conf, then what is added, then what comes along."""
    write(tmp_path / "mine" / "own.yaml", OWN)
    write(
        tmp_path / "here" / "conf" / "experiment" / "c.yaml",
        "# @package _global_\ntrain: {lr: 0.5}\n",
    )
    for width, folder in enumerate((tmp_path / "more", tmp_path / "here" / "conf"), 21):
        write(
            folder / "model" / "mlp.yaml",
            f"_target_: models.mlp.MLP\nwidth: {width}\ninput_dropout: 0.0\n",
        )
        code, out, err = run("-cd", "../more", "--cfg", "job", "model=mlp")
        assert code == 0 and f"width: {width}" in out, err
    code, out, err = run("-cp", "../mine", "-cn", "own", "+experiment=c", "--cfg", "job")
    assert code == 0 and "lr: 0.5" in out, err


def test_what_is_shown_is_what_would_run(run, tmp_path):
    write(tmp_path / "mine" / "own.yaml", OWN.replace("width: 16", "width: 17"))
    for source in (["-cp", "../mine"], ["-cd", "../mine"]):
        for asked in (["--cfg", "job"], ["--info", "config"], ["--cfg=all", "-p", "model"]):
            code, out, _ = run(*source, "-cn", "own", *asked)
            assert code == 0 and "width: 17" in out
    is_one_line(
        *run("--cfg", "job", "-p", "nope"), "--package=nope: is not in what --cfg job shows"
    )
    is_one_line(*run("--cfg", "job", "-p", "hydra"), "--package=hydra: is not in what --cfg job")
    is_one_line(
        *run("--cfg", "hydra", "-p", "model"), "--package=model: is not in what --cfg hydra"
    )
    is_one_line(
        *run("--cfg", "job", "-p", "study.name"), "study.name: is not in what --cfg job shows, or"
    )
    code, out, _ = run("--hydra-help", "model=cnn")
    assert code == 0 and "Hydra (" in out
    is_one_line(*run("--cfg", "job", "dropout=1.5"), "dropout=1.5: a rate must be")
    is_one_line(*run("--cfg", "hydra", "--resolve"), "--resolve: is for --cfg job")
    for more in ([], ["--resolve"]):
        missing = run("--cfg", "job", *more, "train.lr=${oc.env:NO_SUCH}")
        is_one_line(*missing, "train.lr=${oc.env:NO_SUCH}: ")
    is_one_line(*run("--info", "nope"), "invalid choice: 'nope'")


def test_a_key_of_data_that_nothing_reads_is_told(run, tmp_path):
    write(tmp_path / "mine" / "own.yaml", OWN.replace("n_val: 100", "n_val: 100, n_vall: 9"))
    code, out, err = run("dropout=0.0,0.2", "-cd", "../mine", "-cn", "own")
    assert code == 0, err
    assert "warning: data.n_vall=9 is not read for train and val" in out
    assert "data.n_val=" not in out + err


def test_a_key_that_the_test_split_reads_is_not(run, tmp_path, monkeypatch):
    code = """
        import torch

        def sample(config, split):
            n = config.n_test if split == "test" else config.n
            return torch.randn(n, 4), torch.randint(0, 2, (n,))
    """
    write(tmp_path / "here" / "held.py", dedent(code))
    monkeypatch.syspath_prepend(tmp_path / "here")
    held = "_target_: held.sample\nn: 200\nn_test: 50\nn_tset: 40\n"
    write(tmp_path / "here" / "conf" / "data" / "held.yaml", held)
    own = OWN.replace("data: mnist5k", "data: held").replace("data: {n_train: 200, n_val: 100}", "")
    write(tmp_path / "mine" / "own.yaml", own.replace("confirm: false", "confirm: true"))
    code, out, err = run("dropout=0.0,0.2", "-cd", "../mine", "-cn", "own")
    assert code == 0, err
    assert "warning: data.n_tset=40 is not read\n" in out and "n_test" not in out + err


@pytest.mark.filterwarnings("default:In 'own'")
def test_what_hydra_warns_of_is_one_line(run, tmp_path):
    write(tmp_path / "mine" / "own.yaml", OWN.replace("  - _self_\n", ""))
    code, _, err = run("dropout=0.0,0.2", "-cd", "../mine", "-cn", "own")
    told = [line for line in err.splitlines() if "_self_" in line]
    assert code == 0 and len(told) == 1 and told[0].startswith("warning: In 'own': Defaults list")


def test_a_command_leaves_hydra_and_python_as_they_were(run, tmp_path):
    write(tmp_path / "app" / "app.yaml", "a: 1")
    write(tmp_path / "mine" / "own.yaml", OWN)
    with initialize_config_dir(str(tmp_path / "app"), version_base="1.2"):
        theirs, before = GlobalHydra.instance().hydra, list(warnings.filters)
        for arguments in (["-cd", "../mine", "-cn", "own", "dropout=0.2"], ["--info"], ["nope=1"]):
            run(*arguments)
            assert GlobalHydra.instance().hydra is theirs and compose("app").a == 1
            assert warnings.filters == before and not HydraConfig.initialized()


def test_a_file_may_set_what_is_typed_and_the_search(run, tmp_path):
    hydra = (
        "hydra: {sweep: {dir: ./there}, sweeper: {params: {dropout: '0.0,0.3'}}, verbose: false}"
    )
    write(tmp_path / "mine" / "own.yaml", f"{OWN}{hydra}\n")
    code, out, err = run("-cn", "own", "-cd", "../mine")
    assert code == 0 and "  0.3 " in out, err
    assert (tmp_path / "here" / "there" / "tiny" / "study.db").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["data=mnist5k", "-cn", "own", "dropout=0.0,0.2", "-cd", "../mine", "study.name=b"],
        ["-cn=own", "study.name=b", "--config-dir=../mine", "dropout=0.0,0.2"],
        ["study.name=b", "-cp", "../mine", "-cn", "own", "dropout=0.0,0.2"],
        ["+experiment=x", "study.name=b", "dropout=0.0,0.2"],
        ["study.name=b", "dropout=0.0,0.2", "-cd", "../mine", "+experiment=z"],
    ],
)
def test_flags_and_groups_may_stand_anywhere(run, tmp_path, arguments):
    write(tmp_path / "mine" / "own.yaml", OWN)
    write(tmp_path / "mine" / "experiment" / "z.yaml", EXPERIMENT)
    write(tmp_path / "here" / "conf" / "experiment" / "x.yaml", EXPERIMENT)
    code, out, err = run(*arguments)
    assert code == 0 and "  0.2 " in out, err
    assert (tmp_path / "here" / "runs" / "b" / "study.db").exists()


def test_a_launcher_named_in_a_file_that_is_swept_over_is_refused(run, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="joblib is missing")
    write(tmp_path / "here" / "conf" / "experiment" / "x.yaml", EXPERIMENT)
    joblib = EXPERIMENT.replace("mnist5k\n", "mnist5k\n  - override /hydra/launcher: joblib\n")
    write(tmp_path / "here" / "conf" / "experiment" / "y.yaml", joblib.replace("tiny", "other"))
    done = run("dropout=0.0,0.2", "+experiment=x,y")
    is_one_line(*done, "hydra/launcher")
    ours, hydras = "is one for all studies of a command", "must be selected before the sweep"
    assert ours in done[2] or hydras in done[2]  # Hydra 1.4 refuses it itself
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["conf"]


def test_a_search_in_a_file_that_is_swept_over_is_refused(run, tmp_path):
    for name, rates in (("x", "0.0,0.3"), ("y", "0.0,0.5")):
        search = f"hydra: {{sweeper: {{params: {{dropout: '{rates}'}}}}}}\n"
        text = EXPERIMENT.replace("tiny", name) + search
        write(tmp_path / "here" / "conf" / "experiment" / f"{name}.yaml", text)
    is_one_line(*run("+experiment=x,y"), "hydra.sweeper.params: is one for all studies")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["conf"]
    code, out, err = run("+experiment=x")
    assert code == 0 and "  0.3 " in out, err


def test_a_name_in_a_file_is_of_one_study_too(run, tmp_path):
    write(tmp_path / "mine" / "own.yaml", OWN)
    done = run("dropout=0.0,0.2", "-cn", "own", "-cd", "../mine", "data=mnist5k,mnist")
    is_one_line(*done, "study.name=tiny: names one study, but the command makes several")
    assert list((tmp_path / "here").iterdir()) == []


def test_what_is_searched_is_shown_without_its_password(run):
    code, out, err = run("--cfg", "job", "study.storage=postgresql+psycopg://u:sekret@h/d,x")
    assert code == 0 and "is searched" in err and "sekret" not in out + err


def test_what_is_shown_may_hold_a_search(run):
    code, out, err = run("dropout=0.0,0.2", "--cfg", "job", "train.lr=0.5", "model=mlp,cnn")
    assert code == 0 and "lr: 0.5" in out and "models.mlp.MLP" in out
    assert err.splitlines() == [
        "dropout=0.0,0.2: is searched; what is shown is the default",
        "model=mlp,cnn: is searched; what is shown is the default",
    ]


def test_a_command_leaves_the_environment_as_it_was(run, monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    for _ in range(2):
        is_one_line(*run("dropout=1.5"), "dropout=1.5: a rate must be")
        assert "HYDRA_FULL_ERROR" not in os.environ


def test_what_hydra_says_of_itself_is_shown(run):
    code, out, _ = run("--hydra-help")
    assert code == 0 and "Hydra (" in out
    code, out, _ = run("--cfg", "job", "-p", "train", "data=mnist5k", "--resolve")
    assert code == 0 and out.startswith("# @package train") and "lr: 0.001" in out


COMPOSED = """
from hydra import compose, initialize_config_dir
with initialize_config_dir({conf!r}, version_base="1.3"):
    print(compose("dropout_sweep", ["model=cnn"]).model._target_)
"""


def test_a_program_composes_our_config_without_importing_anything_of_ours(tmp_path):
    program = [sys.executable, "-c", COMPOSED.format(conf=str(ROOT / "conf"))]
    done = subprocess.run(
        program, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stdout == "models.cnn.CNN\n", done.stderr


INTERPOLATED = [
    ("dropout=0.0,${oc.env:RATE}", None),
    ("hydra.sweep.dir=${hydra:runtime.cwd}/runs", None),
    ("hydra.sweep.dir=${hydra.runtime.cwd}/runs", None),
    ("dropout=${oc.env:NONE}", "dropout=${oc.env:NONE}: must be a number (KeyError"),
    ("train.lr=${oc.env:NONE}", "train.lr=${oc.env:NONE}: KeyError raised while resolving"),
    ("hydra.sweep.dir=${oc.env:NONE}", "hydra.sweep.dir"),
    ("model.width=${train.nope}", "model.width=${train.nope}: Interpolation key 'train.nope'"),
]


@pytest.mark.parametrize(("argument", "complaint"), INTERPOLATED)
def test_interpolations_work_or_are_refused_by_their_key(
    run, tmp_path, monkeypatch, argument, complaint
):
    monkeypatch.setenv("RATE", "0.2")
    write(tmp_path / "mine" / "own.yaml", OWN)
    given = [] if argument.startswith("dropout") else ["dropout=0.0,0.2"]
    code, out, err = run("-cd", "../mine", "-cn", "own", argument, *given)
    if complaint:
        is_one_line(code, out, err, complaint)
    else:
        assert code == 0 and "  0.2 " in out, err
        assert (tmp_path / "here" / "runs" / "tiny" / "study.db").exists()


@pytest.mark.parametrize("argument", ["hydra.sweep.dir=~/runs", "'hydra.sweep.dir=\"~/runs\"'"])
def test_the_home_folder_is_meant_by_its_sign(tmp_path, argument):
    write(tmp_path / "mine" / "own.yaml", OWN)
    home = tmp_path / "it's home"
    (tmp_path / "here").mkdir()
    code, _, err = command(
        tmp_path / "here",
        *("-cd", "../mine", "-cn", "own", "dropout=0.0,0.2", argument.strip("'")),
        HOME=str(home),
    )
    assert code == 0, err
    assert (home / "runs" / "tiny" / "study.db").exists()
    assert list((tmp_path / "here").iterdir()) == []


def test_a_name_is_made_of_letters_whatever_a_file_is_called(run, tmp_path):
    model = "_target_: models.mlp.MLP\nwidth: 16\ndepth: 1\ninput_dropout: 0.0\n"
    write(tmp_path / "here" / "conf" / "model" / "mein nétz%2.yaml", model)
    write(tmp_path / "mine" / "own.yaml", OWN.replace(", name: tiny", ""))
    code, out, err = run("-cn", "own", "-cd", "../mine", "model='mein nétz%2'", "dropout=0.0,0.2")
    assert code == 0 and "  0.2 " in out, err
    (folder,) = (tmp_path / "here" / "runs").iterdir()
    assert re.fullmatch(r"mein-n-tz-2-mnist5k-\w{8}", folder.name)


def test_a_folder_that_python_cannot_read_is_one_line(tmp_path):
    (tmp_path / "Übung").mkdir()
    arguments = ["dropout=0.0,0.2", "data=mnist5k", "data.n_train=200", "train.epochs=1"]
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, out, err = command(tmp_path / "Übung", *arguments, **ascii_only)
    is_one_line(code, out, err, "Python reads file names as ASCII here; set LC_ALL=C.UTF-8")
    assert list((tmp_path / "Übung").iterdir()) == []
