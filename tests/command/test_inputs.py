"""Overrides that nobody would think of: each trains a step, or is refused in one line."""

import contextlib
import os
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from unittest.mock import patch

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from sweep.command.hints import KEYS
from sweep.engine.population import Population
from sweep.run import main

SMALL = ["data=mnist5k", "data.n_train=128", "data.n_val=32", "model.width=4", "train.epochs=1"]
SMALL += ["study.n_trials=2", "study.generation=2", "study.seeds=1"]
MORE = ["model", "model.width", "model.depth", "model.input_dropout", "model._target_", "data"]
MORE += ["data.n_train", "data.n_val", "data.split_seed", "data.root", "data._target_", "sampler"]
MORE += ["hydra.sweep.dir", "hydra.mode", "hydra.launcher", "hydra.job.num", "hydra/sweeper", "lr"]
VALUES = "-1 0 1 2 3 8 0.5 0.1 1e-3 1.5 nan inf -inf 1e400 1000000000000 1_000 0x10 0.1.2 ٣ '1'"
VALUES += " mlp cnn mnist5k zoom tpe auto cpu cuda:9 true null ??? ${nosuch} ${train.lr} ${.} ' a/b"
VALUES += " .. models.mlp.MLP os.system {a:1} [] [0.1] é \U0001f600 % {x} \\ := sqlite:////no/x.db"
SANE = """
    train.epochs=2 train.epochs=1,2 train.batch_size=1 train.batch_size=100,128 train.lr=0.1
    train.lr=1e-5,1e-3 train.lr=tag(log,interval(1e-4,1e-2)) train.weight_decay=interval(0,0.5)
    train.optimizer=sgd train.momentum=0.9 train.nesterov=true train.clip_norm=1 train.warmup=0.5
    train.schedule=cosine train.loss=mse train.precision=bf16 train.fuse=1 study.n_trials=1
    study.n_trials=3 study.generation=3 study.seeds=2 study.metric=val_error study.baseline=false
    study.confirm=false study.robustness=true study.prune=halving study.each=[model.width]
    study.name=mine sampler=tpe sampler=gp sampler=qmc sampler=random sampler.seed=7 dropout=0.3
    dropout=0,0.5 dropout=range(0,0.9,0.3) dropout=interval(0.1,0.6) dropout=sort(0.2,0.1)
    dropout=choice(0.1,0.2) dropout=tag(log,interval(0.01,0.5)) model=cnn model=rnn
    model=transformer model=mlp,cnn model.width=8,16 model.width=interval(1,8) model.depth=1
    model.input_dropout=0,0.2 model.input_dropout=interval(0,0.4) data=mnist5k,mnist data.n_val=64
    data.n_train=200,300 data.split_seed=1 study.storage=sqlite:///mine.db hydra.sweep.dir=there
"""
FUNCTIONS = ["interval", "range", "choice", "shuffle", "sort", "glob", "int", "nosuch"]

single = st.one_of(st.sampled_from(VALUES.split()), st.text(max_size=6))
listed = st.lists(single, min_size=2, max_size=3).map(",".join)
calls = st.builds(
    lambda name, inner: f"{name}({','.join(inner)})",
    st.sampled_from(FUNCTIONS),
    st.lists(single, max_size=3),
)
tagged = st.builds("tag({},{})".format, st.sampled_from(["log", "x", "log,x"]), calls)
keys = st.sampled_from([key for key in (*KEYS, *MORE) if key != "train.device"])
prefixes = st.sampled_from([*5 * [""], "+", "++", "~"])
wild = st.builds("{}{}={}".format, prefixes, keys, st.one_of(single, listed, calls, tagged))
sane = st.sampled_from(SANE.split())
mistyped = st.builds(lambda o, i, c: o[:i] + c + o[i + 1 :], sane, st.integers(0, 30), st.text())
override = st.one_of(*5 * [sane], wild, mistyped).filter(lambda one: not one.startswith("-"))


real_step = Population.step


class Stepped(BaseException):
    """A step has been trained: no need to see the end."""


def step(*args):
    real_step(*args)
    raise Stepped


def run(arguments):
    """Give a command to this process; return its exit code, output and errors."""
    given_keys = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
    rest = [o for o in SMALL if o.partition("=")[0] not in given_keys]
    if given_keys & {"model", "data"}:  # whose numbers may be others
        rest = [o for o in rest if not o.startswith(("model.", "data."))]
    out, err = StringIO(), StringIO()
    argv = patch.object(sys, "argv", ["sweep.run", *rest, *arguments])
    plain = patch.dict(os.environ, {"HYDRA_FULL_ERROR": "0"})  # which the command sets
    with argv, plain, redirect_stdout(out), redirect_stderr(err):
        try:
            code = main()
        finally:
            GlobalHydra.instance().clear()
    return code, out.getvalue(), err.getvalue()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@patch.object(Population, "step", step)
def test_trains_a_step_or_is_refused_in_one_line():
    ends = []

    @seed(7)
    @settings(max_examples=300, deadline=None, database=None, phases=[Phase.generate])
    @given(st.lists(override, min_size=1, max_size=4))
    def try_command(arguments):
        ends.append(trained_or_refused(arguments))

    try_command()
    assert ends.count("trained") > 20 and ends.count("refused") > 20


def trained_or_refused(arguments):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        try:
            code, out, err = run(arguments)
        except Stepped:
            return "trained"
        *warnings, last = err.splitlines() or [""]
        assert code in (2, 3) and not out and not os.listdir(), err[-500:]
        assert last.startswith("error: ") and all(w.startswith("warning: ") for w in warnings)
        return "refused"
