"""Overrides that nobody would think of: each trains a step, or is refused in one line."""

import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from scripts.soak.crashes import Tally, fresh_folder
from sweep import run
from sweep.command.hints import KEYS
from sweep.engine.population import Population

SMALL = ["data=mnist5k", "data.n_train=128", "data.n_val=32", "model.width=4", "train.epochs=1"]
SMALL += ["study.n_trials=2", "study.generation=2", "study.seeds=1"]
MORE = ["model", "model.width", "model.depth", "model.input_dropout", "model._target_", "data"]
MORE += ["data.n_train", "data.n_val", "data.split_seed", "data.root", "data._target_", "sampler"]
MORE += ["hydra.sweep.dir", "hydra.mode", "hydra.launcher", "hydra.job.num", "hydra/sweeper", "lr"]
NUMBERS = "-1 0 1 2 3 8 0.5 0.1 1e-3 1.5 nan inf -inf 1e400 1000000000000 1_000 0x10 0.1.2 ٣"
WORDS = "mlp cnn mnist5k zoom tpe auto cpu cuda:9 true null ??? ${nosuch} ${train.lr} ${.} ' a/b .."
WORDS += " models.mlp.MLP os.system {a:1} [] [0.1] é \U0001f600 % {x} \\ := sqlite:////nosuch/x.db"

SANE = """
    train.epochs=2 train.epochs=1,2 train.batch_size=1 train.batch_size=32 train.batch_size=100,128
    train.lr=0.1 train.lr=1e-5,1e-3 train.lr=tag(log,interval(1e-4,1e-2)) train.weight_decay=0
    train.weight_decay=interval(0,0.5) train.schedule=cosine train.loss=mse train.precision=bf16
    train.fuse=1 train.fuse=5 study.n_trials=1 study.n_trials=3 study.generation=3 study.seeds=2
    study.metric=val_error study.baseline=false study.confirm=false study.robustness=true
    study.prune=halving study.each=[model.width] study.name=mine sampler=tpe sampler=gp
    sampler=qmc sampler=random sampler.seed=7 dropout=0.3 dropout=0,0.5 dropout=range(0,0.9,0.3)
    dropout=interval(0.1,0.6) dropout=choice(0.1,0.2) dropout=sort(0.2,0.1) dropout=0.1,0.1
    dropout=tag(log,interval(0.01,0.5)) model=cnn model=rnn model=transformer model=mlp,cnn
    model.width=1 model.width=8,16 model.width=interval(1,8) model.depth=1 model.input_dropout=0.1
    model.input_dropout=0,0.2 model.input_dropout=interval(0,0.4) data=mnist5k,mnist data.n_val=64
    data.n_train=200,300 data.split_seed=1 study.storage=sqlite:///mine.db hydra.sweep.dir=there
"""
numbers, words = st.sampled_from(NUMBERS.split()), st.sampled_from(WORDS.split())
single = st.one_of(numbers, numbers, words, st.text(max_size=6), numbers.map(repr))
listed = st.lists(single, min_size=2, max_size=3).map(",".join)
calls = st.builds(
    lambda name, inner: f"{name}({','.join(inner)})",
    st.sampled_from(["interval", "range", "choice", "shuffle", "sort", "glob", "int", "nosuch"]),
    st.lists(single, max_size=3),
)
tagged = st.builds("tag({},{})".format, st.sampled_from(["log", "x", "log,x"]), calls)
keys = st.sampled_from([key for key in (*KEYS, *MORE) if key != "train.device"])
prefixes = st.sampled_from(["", "", "", "", "", "", "+", "++", "~"])
wild = st.builds("{}{}={}".format, prefixes, keys, st.one_of(single, listed, calls, tagged))
sane = st.sampled_from(SANE.split())
mistyped = st.builds(lambda o, i, c: o[:i] + c + o[i + 1 :], sane, st.integers(0, 30), st.text())
lines = st.lists(st.one_of(*5 * [sane], wild, mistyped), min_size=1, max_size=4)
commands = lines.map(lambda them: [one for one in them if not one.startswith("-")])


class Stepped(BaseException):
    """A step has been trained: no need to see the end."""


def fate(arguments: list[str], folder: Path) -> str:
    """Give a command to this process; return "trained", "refused", or what is wrong with it."""
    given_keys = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
    rest = [o for o in SMALL if o.partition("=")[0] not in given_keys]
    if given_keys & {"model", "data"}:  # whose numbers may be others
        rest = [o for o in rest if not o.startswith(("model.", "data."))]
    out, err, real = StringIO(), StringIO(), Population.step

    def step(*args: object, **kwargs: object) -> None:
        real(*args, **kwargs)  # type: ignore[arg-type]
        raise Stepped

    argv, environment = ["sweep.run", *rest, *arguments], {"HYDRA_FULL_ERROR": "0"}
    with (
        chdir(folder),
        patch.object(Population, "step", step),
        patch.object(sys, "argv", argv),
        patch.dict(os.environ, environment),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            code = run.main()
        except Stepped:
            return "trained"
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
        finally:
            GlobalHydra.instance().clear()
    *warnings, last = err.getvalue().split("\n")[:-1] or [""]
    told = last.startswith("error: ") and all(w.startswith("warning: ") for w in warnings)
    if code not in (2, 3) or not told or out.getvalue() or list(folder.iterdir()):
        return f"exit {code}, {[p.name for p in folder.iterdir()]}: {err.getvalue()[-500:]}"
    return "refused"


def try_many(n: int, start: int) -> Tally:
    """Try n commands."""
    tally = Tally("a command that nobody would think of")
    ends = {"trained": 0, "refused": 0}

    @seed(start)
    @settings(max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(commands)
    def one(arguments: list[str]) -> None:
        with fresh_folder() as folder:
            end = fate(arguments, folder)
        tally.tried += 1
        if end not in ends:
            tally.different += 1
            tally.notes.append(f"{arguments}: {end}")
        else:
            ends[end] += 1

    one()
    tally.notes.insert(0, ", ".join(f"{number} {end}" for end, number in ends.items()))
    return tally
