"""from sweep import find: the command for a script or a notebook.

    from sweep import find

    find(Net, train=(x, y), val=(x_val, y_val), test=(x_test, y_test))
    find(Net, train=(x, y), dropout=[0.0, 0.2, 0.5], overrides=["train.epochs=20"])
    find("mlp", data="mnist5k", overrides=["model.width=64"])

It makes the command line that would ask the same and runs it in this process.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from sweep.command.arguments import check_arguments, hydra_quoted, parse_override, with_home
from sweep.command.exits import in_one_line
from sweep.command.flags import Places
from sweep.command.program import multirun
from sweep.errors import BadInput
from sweep.jobs.job import run_job
from sweep.places import conf_folders
from sweep.show.notebook import ShownAnswer, shown_answer
from sweep.workload.arrays import Samples, hold_arrays, split_off
from sweep.workload.data import check_alike
from sweep.workload.local import target_path
from sweep.workload.model import model_class, own_numbers
from sweep.workload.samples import as_samples

_one_at_a_time = threading.Lock()  # Hydra has one state in a process


def find(
    model: type[nn.Module] | str,
    *,
    train: Any = None,
    val: Any = None,
    test: Any = None,
    data: str | None = None,
    dropout: Any = None,
    loss: Callable[..., Any] | str | None = None,
    overrides: Sequence[str] = (),
) -> ShownAnswer:
    """Find the dropout rate of a model; the same call again resumes, or returns the answer.

    model: a subclass of nn.Module, its dotted path, or the name of a file in conf/model.
    train, val, test: (inputs, targets), or a map-style torch Dataset of such pairs. Inputs are an
        array or a tensor (N, ...), or a tuple or dict of them, passed on as the model's arguments;
        targets are class numbers, floats or bools (N, ...). Without val a fifth of train is split
        off; without test there are no test figures.
    data: the name of a file in conf/data, instead of train; mnist if neither is given.
    dropout: (low, high) for an interval, a list of rates, one rate, or the command's text.
    loss: a function (outputs, targets) -> loss of each sample, its dotted path, or a loss's name.
    overrides: further settings as the command line has them, such as "train.epochs=20".

    Classes and functions of a notebook or script can be used in this process only, so not with
    another launcher; an edited one makes another study. Raises BadInput for a mistake, before
    anything is written, Unreachable for data or a storage that cannot be had, and SweepFailed if
    every training failed.
    """
    try:
        with _one_at_a_time, ExitStack() as stack:
            settings = _checked_settings(overrides)
            lines = [f"model={stack.enter_context(_named_model(model, settings))}"]
            if not (train is val is test is None):
                splits = _splits(train, val, test)
                lines += _arrays_lines(stack.enter_context(hold_arrays(splits)), settings)
            elif data is None and not any(line.startswith("data=") for line in settings):
                _say("data: mnist, as no samples and no data are given")
            given = {"data": data, "dropout": _rates(dropout), "train.loss": _loss_path(loss)}
            lines += [f"{key}={value}" for key, value in given.items() if value is not None]
            lines += settings
            check_arguments(lines, conf_folders())
            lines.append("hydra.sweeper.several=false")
            (answer,) = multirun(run_job, lines, Places(), log=False)
    except Exception as error:
        told = in_one_line(error)
        if told is None:
            raise
        raise told from None  # without the way to it, which tells a user nothing
    return shown_answer(answer)


def _checked_settings(overrides: Sequence[str]) -> list[str]:
    if isinstance(overrides, str) or not all(isinstance(one, str) for one in overrides):
        raise BadInput('overrides: must be a list of texts, such as ["train.epochs=20"]')
    return list(with_home(overrides))


@contextmanager
def _named_model(model: type[nn.Module] | str, settings: Sequence[str]) -> Iterator[str]:
    """Yield the name of the model's YAML, which for a class is in Hydra's store meanwhile."""
    if isinstance(model, str) and "." not in model:
        yield model
        return
    if not isinstance(model, str | type):
        raise BadInput(f"model: must be a class, which is built for each rate, not {_kind(model)}")
    path = model if isinstance(model, str) else target_path(model)
    cls = model_class(path)
    name = cls.__name__
    if any((conf / "model" / f"{name}.yaml").exists() for conf in conf_folders()):
        raise BadInput(f"model={name}: is also a file in conf/model; rename the class")
    numbers = {**_examples(settings), **own_numbers(cls)}
    store = ConfigStore.instance()
    store.store(name, {"_target_": path, **numbers}, "model")
    try:
        yield name
    finally:
        del store.repo["model"][f"{name}.yaml"]


def _examples(settings: Sequence[str]) -> dict[str, Any]:
    """Return the model's numbers that settings name, with a value of the type that is searched."""
    found: dict[str, Any] = {}
    for override in (parse_override(line) for line in settings if line.startswith("model.")):
        value: Any = override.value()
        if isinstance(value, ChoiceSweep):
            value = value.list[0]
        elif isinstance(value, RangeSweep | IntervalSweep):
            value = value.start
        name = str(override.key_or_group).removeprefix("model.")
        found[name] = value if isinstance(value, int | float) else None
    return found


def _splits(train: Any, val: Any, test: Any) -> dict[str, Samples]:
    """Return the samples of each split as tensors; say what is missing."""
    splits = {"train": _samples("train", train)}
    if val is None:
        splits["train"], splits["val"] = split_off(splits["train"])
        _say(f"val: {len(splits['val'][1])} samples, a fifth of train, as none are given")
    else:
        splits["val"] = _samples("val", val)
    if test is None:
        _say("test: no samples are given, so there are no test figures")
    else:
        splits["test"] = _samples("test", test)
    for split in splits:
        check_alike("find", splits["train"], splits[split], split)
    return splits


def _samples(split: str, given: Any) -> Samples:
    pair = isinstance(given, tuple) and len(given) == 2
    if not (pair or isinstance(given, Dataset)) or isinstance(given, IterableDataset):
        allowed = "(inputs, targets) or a map-style Dataset of such pairs"
        raise BadInput(f"{split}: must be {allowed}, not {_kind(given)}")
    return as_samples("find", split, given)


def _arrays_lines(sha256: str, settings: Sequence[str]) -> list[str]:
    """Return what names arrays; their file lies beside the studies, which may share it."""
    runs = "runs"
    for line in settings:
        if line.startswith("hydra.sweep.dir="):
            runs = str(parse_override(line).value())
    root = hydra_quoted(f"{runs}/.arrays")
    return ["data=arrays", f"data.root='{root}'", f"data.sha256='{sha256}'"]


def _rates(dropout: Any) -> str | None:
    """Return what is searched as the command line has it."""
    if dropout is None or isinstance(dropout, str):
        return dropout
    if isinstance(dropout, tuple):
        if len(dropout) != 2:
            raise BadInput(f"dropout={dropout}: must be (low, high), or a list of rates")
        return f"interval({dropout[0]},{dropout[1]})"
    listed = list(np.atleast_1d(dropout))
    if not listed:
        raise BadInput("dropout=[]: must hold at least one rate")
    return ",".join(map(str, listed))


def _loss_path(loss: Callable[..., Any] | str | None) -> str | None:
    if loss is None or isinstance(loss, str):
        return loss
    if not callable(loss):
        raise BadInput(f"loss: must be a function (outputs, targets), not {_kind(loss)}")
    return target_path(loss)


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


def _say(line: str) -> None:
    print(line, file=sys.stderr)
