"""Proves on the study's own batches that the fused program trains as the plain model.

In double precision plain PyTorch and the fused program must agree in losses, gradients, buffers,
the weights after the optimiser's step, and the losses in evaluation. Each step starts from the
plain weights. What shows only later is checked in training (sweep/engine/difference.py, traced.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sweep.command.config import TrainConfig
from sweep.engine.attributes import changed_attribute, forward_attributes
from sweep.engine.bounds import BOUNDS, compare_losses, compare_tensors
from sweep.engine.fused import Fused
from sweep.engine.memory import fits_in_memory
from sweep.engine.noise import evaluation_keys, order_and_keys
from sweep.engine.outside import SEEDS, acts_outside, other_at_zero
from sweep.engine.plain import Plain, build_model, run_once
from sweep.engine.setting import Candidates, Setting
from sweep.engine.watch import Watch
from sweep.errors import Differs, first_line
from sweep.work import Way
from sweep.workload import generators
from sweep.workload.data import Data
from sweep.workload.inputs import Inputs, map_inputs
from sweep.workload.split import Split

# on a CPU a model is not fused if more of its multiplications are in convolutions, or if its
# tensors are large on average: what fusing saves are calls, and those cost little then
CONVOLVED = 1 / 4
LARGE = 75_000  # numbers of a tensor


def prove_way(some: Candidates, config: TrainConfig, data: Data, device: torch.device) -> Way:
    """Return the way to train a model, with the reason if it is plain."""
    here = Way("fused", device=device.type, torch=torch.__version__)
    some = replace(some, settings=[s for s in some.settings if _builds(s, device)])
    if len(some.settings) < 2:
        return here.plainly("it can be built at fewer than two of the rates")
    x, _ = data.train[torch.arange(min(config.batch_size, len(data.train)), device=device)]
    try:
        if why := other_at_zero(some, x, config, data.train.dtype):
            return here.plainly(f"at rate 0 it {why}", zero=True)
        _show(some, x, config, data)
    except Differs as found:
        return here.plainly(found.why, found.draws)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        return here.plainly(f"as one program it fails: {first_line(error)}")
    return here


def _builds(setting: Setting, device: torch.device) -> bool:
    try:
        build_model(setting, SEEDS[0], device, torch.float32)
    except Exception:
        return False  # a trial at this rate reports its failure
    return True


def _show(some: Candidates, x: Inputs, config: TrainConfig, data: Data) -> None:
    """Raise Differs if the fused program is wrong or should not be used; x is a batch."""
    device = data.train.targets.device
    model = build_model(some.settings[-1], SEEDS[0], device, data.train.dtype)
    if device.type == "cpu" and (why := _slower(model, x, config)):
        raise Differs(why)
    if not fits_in_memory(model, 4 * len(some.settings) * len(SEEDS), device):
        raise Differs("the members of the proof do not fit in memory")
    exact = replace(config, precision="float32")  # that is, no products in bf16
    double = replace(data, train=_double(data.train), val=_double(data.val))
    arguments = some.settings, SEEDS, exact, device, torch.float64
    bound = _plain_bound(lambda: Plain(*arguments), double, exact)
    if acts_outside(some, x, config, data.train.dtype):
        raise Differs("its rate acts outside dropout calls too")
    plain, fused = Plain(*arguments), Fused(*arguments)
    before = [forward_attributes(model) for model in plain.models]
    try:
        with generators.restoring_states():
            for batch, keys, step in _steps(double.train, exact):
                _compare_step(plain, fused, batch, keys, step, bound)
            _compare_evaluation(plain, fused, double.val, exact, bound)
    except Exception:
        _check_plain(plain, before)  # which says more than by how much they differ
        raise
    _check_plain(plain, before)


def _plain_bound(make: Callable[[], Plain], data: Data, config: TrainConfig) -> float:
    """Take a step plainly; return the bound for the lowest precision that the model uses.

    Raises Differs if the model does what cannot be fused, or fails in double precision.
    """
    try:
        plain = make()
        before = [forward_attributes(model) for model in plain.models]
        (x, y), keys, step = next(_steps(data.train, config))
        with Watch() as seen, generators.restoring_states():
            plain.begin(keys, training=True)
            plain.backward(x, y, step)
            plain.move(step)
            plain.begin(keys, training=False)
            plain.outcomes(map_inputs(lambda t: t[0], x), y[0], step)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise Differs(f"in double precision it fails: {first_line(error)}") from None
    _check_plain(plain, before)
    return max(BOUNDS[dtype] for dtype in seen.from_double & BOUNDS.keys())


def _check_plain(plain: Plain, before: Sequence[Mapping[str, Any]]) -> None:
    """Raise Differs if the models have done what cannot be fused; they had attributes before."""
    if plain.writes:
        raise Differs("its forward writes into its input")
    for was, model in zip(before, plain.models, strict=True):
        if name := changed_attribute(was, forward_attributes(model)):
            raise Differs(f"its forward changes {name}, which is neither a parameter nor a buffer")
    for training, when in ((True, "in training"), (False, "in evaluation")):
        if drawn := plain.draws[training]:
            names = " and ".join(sorted(drawn))
            raise Differs(f"{when} it draws from the generator of {names}")
    if plain.in_evaluation:
        raise Differs("in evaluation it draws random numbers")


def _compare_step(
    plain: Plain, fused: Fused, batch: tuple[Inputs, Tensor], keys: Tensor, step: int, bound: float
) -> None:
    for k in range(plain.n_members):
        fused.load(k, plain.member(k))
    losses = []
    for engine in (plain, fused):
        engine.begin(keys, training=True)
        losses.append(engine.backward(*batch, step))
    compare_losses("the loss", losses[1], losses[0], bound)
    for k in range(plain.n_members):
        compare_tensors("the gradient of", fused.gradients(k), plain.gradients(k), bound)
        mine = {name: buffer[k] for name, buffer in fused.buffers.items()}
        compare_tensors("the buffer", mine, dict(plain.member(k).named_buffers()), bound)
    for engine in (plain, fused):
        engine.move(step)
    if bound > BOUNDS[torch.float64]:
        return  # in low precision AdamW makes steps of size lr even of rounding errors
    for k in range(plain.n_members):
        weights = {name: param[k] for name, param in fused.params.items()}
        compare_tensors("the weight", weights, dict(plain.member(k).named_parameters()), bound)


def _compare_evaluation(
    plain: Plain, fused: Fused, val: Split, config: TrainConfig, bound: float
) -> None:
    for k in range(plain.n_members):
        fused.load(k, plain.member(k))
    batches = torch.split(torch.arange(len(val), device=val.targets.device), config.eval_batch_size)
    keys = torch.stack([evaluation_keys(seed, 0, 1) for seed in SEEDS], 1)
    for rows in {len(rows): rows for rows in batches}.values():
        losses = []
        for engine in (plain, fused):
            engine.begin(keys.to(rows.device), training=False)
            sums = engine.outcomes(*val[rows], 0).sum(-1)
            losses.append(sums[0] / sums[1])
        compare_losses("the loss in evaluation", losses[1], losses[0], bound)


def _steps(
    train: Split, config: TrainConfig
) -> Iterator[tuple[tuple[Inputs, Tensor], Tensor, int]]:
    """Yield the batch, the epoch's keys and the number of the first two steps and the last."""
    size, n, device = config.batch_size, len(train), train.targets.device
    orders, keys = zip(*(order_and_keys(seed, 0, n, size) for seed in SEEDS), strict=True)
    rows = torch.split(torch.stack(orders).to(device), size, dim=1)
    for step in sorted({0, min(1, len(rows) - 1), len(rows) - 1}):
        yield train[rows[step]], torch.stack(keys, 1).to(device), step


def _double(split: Split) -> Split:
    return replace(split, dtype=torch.float64)


def _slower(model: nn.Module, x: Inputs, config: TrainConfig) -> str:
    """Say why a model is slower as one program on a CPU, if it is."""
    try:
        with Watch() as seen:
            run_once(model.train(), x, config)
    except Exception:  # perhaps caused by the watch; what cannot be fused shows later
        return ""
    if seen.convolved > CONVOLVED * seen.products:
        return "convolutions on a CPU are faster one by one"
    if seen.numbers > LARGE * seen.tensors and not config.compile:
        return "tensors this large are faster one by one on a CPU"
    return ""
