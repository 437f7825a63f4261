"""Trains many members as one program: every tensor of the model gets a leading axis K.

It does what sweep/engine/plain.py does, and is used only if it was proven to give the same numbers.
"""

import math
import sys
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from sweep.command.config import TrainConfig
from sweep.command.rate import NOTHING
from sweep.engine.bounds import bound_of
from sweep.engine.equal import equal_states
from sweep.engine.layers import lay_out, lower_layers
from sweep.engine.optimizer import StackedOptimizer
from sweep.engine.plain import build_model, run_once
from sweep.engine.schedule import Schedule
from sweep.engine.setting import Setting
from sweep.engine.traced import EVALUATIONS, Function, Program
from sweep.engine.vmapped import Skeleton
from sweep.engine.watch import Watch
from sweep.errors import Differs
from sweep.workload.inputs import Inputs, map_inputs

LARGEST = 2**25  # bytes of a pass's largest tensor on a CPU; larger passes are not faster
EVALUATED = {"cpu": 4096, "cuda": 262_144}  # members x samples at once; more overflow the cache


class Fused:
    """Trains K = P * S members (trial by trial) in common forward and backward passes."""

    def __init__(
        self,
        settings: Sequence[Setting],
        seeds: Sequence[int],
        config: TrainConfig,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.seeds, self.config, self.device, self.dtype = tuple(seeds), config, device, dtype
        self.each = [(setting, seed) for setting in settings for seed in seeds]
        # a model may load weights from a file: each seed is built once, for the first trial
        models = [build_model(settings[0], seed, device, dtype) for seed in seeds]
        others = [build_model(setting, seeds[0], device, dtype) for setting in settings[1:]]
        self.samples = [models[0], *others]  # until the rates are read
        params, self.buffers = stack_module_state(models * len(settings))
        detached = {name: param.detach() for name, param in params.items()}
        self.params = lay_out(models[0], detached)
        self.skeleton = Skeleton(models[0], len(seeds), config)
        self.rates = torch.zeros(0)  # (K, sites)
        self.training: Function = self.skeleton.gradients
        self.evaluation: Function = self.skeleton.outcomes
        numbers = [setting.numbers for setting in settings]
        self.optimizer = StackedOptimizer(self.params, numbers, config)
        self.schedule = Schedule(config)
        self.members_per_pass = 0  # of forward and backward; set in the first step

    @property
    def n_members(self) -> int:
        return len(self.each)

    @property
    def compiled(self) -> bool:
        """Whether its steps run compiled."""
        return isinstance(self.training, Program) and self.training.compiled

    def begin(self, keys: Tensor, training: bool) -> None:
        """Begin an epoch or an evaluation, whose steps have noise keys (n_steps, S)."""
        self.skeleton.module.train(training)
        if training:
            self.skeleton.noise.begin(keys)
            self.schedule.begin_epoch(len(keys))

    def backward(self, x: Inputs, y: Tensor, step: int) -> Tensor:
        """Compute the gradients of a step; x (S, B, ...), y (S, B). Returns the losses (K,)."""
        if not self.members_per_pass:
            self._read_rates(map_inputs(lambda t: t[0], x))
        self.skeleton.noise.move(step)
        noise = self.skeleton.numbers(n := y.shape[1])
        if not self.members_per_pass:
            self.members_per_pass = self._probe(x, y)
        losses = []
        for first in range(0, self.n_members, self.members_per_pass):
            rows = slice(first, first + self.members_per_pass)
            params, buffers = self._some(rows)
            loss, gradients = self.training(params, buffers, self.rates[rows], noise, x, y)
            self.optimizer.accumulate(rows, gradients)
            losses.append(loss)
        self.skeleton.shapes[n] = {site: t.shape[1:] for site, t in noise.items()}
        return torch.cat(losses)

    def _some(self, rows: slice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        params = {name: param[rows] for name, param in self.params.items()}
        return params, {name: buffer[rows] for name, buffer in self.buffers.items()}

    def move(self, step: int) -> None:
        """Take an optimiser step with the gradients of a step."""
        self.schedule.set_lr(self.optimizer.inner, step)
        self.optimizer.step()

    def end_epoch(self) -> None:
        self.schedule.end_epoch()

    @torch.no_grad()
    def outcomes(self, x: Inputs, y: Tensor, step: int) -> Tensor:
        """Return each member's outcomes_of a batch, (4, K, B); x and y (B, ...)."""
        n_seeds = len(self.seeds)
        trials = max(1, EVALUATED[self.device.type] // (n_seeds * len(y)))
        parts = range(0, self.n_members, trials * n_seeds)
        some = (self._some(slice(first, first + trials * n_seeds)) for first in parts)
        return torch.cat([self.evaluation(*tensors, x, y) for tensors in some], 1)

    @torch.no_grad()
    def _read_rates(self, x: Inputs) -> None:
        """Read the rate of each site from one forward pass of each trial's own model.

        They must have the same weights and, with all rates forced to 0.5, the same outputs: the
        proof tried only a few rates.
        """
        found, outputs = [], []
        for model in self.samples:
            said, sites = run_once(model.train(), x, self.config, force=0.5)
            found.append((sites.count, sites.rates))
            outputs.append(said)
        if any((n, rates.keys()) != (found[0][0], found[0][1].keys()) for n, rates in found):
            raise Differs("its dropout calls differ between rates")
        same = all(equal_states(self.samples[0], model) for model in self.samples)
        if not same or not all(torch.equal(outputs[0], other) for other in outputs):
            raise Differs("its rate acts outside dropout calls too")
        rows = [[rates.get(site, 0.0) for site in range(n)] for n, rates in found]
        rates = torch.tensor(rows, dtype=torch.float64, device=self.device)
        if (rates >= 1).any():
            raise Differs("one of its dropout calls drops everything")
        rates[rates <= NOTHING] = 0.0
        self.rates = rates.repeat_interleave(len(self.seeds), 0)
        self.skeleton.live = rates.bool().any(0).tolist()
        self.samples = []

    @torch.no_grad()
    def _probe(self, x: Inputs, y: Tensor) -> int:
        """Prepare the program; return the members per pass: whole trials, in about equal passes."""
        n_seeds, on_cpu = len(self.seeds), y.device.type == "cpu"
        params, buffers = self._some(slice(n_seeds))
        one, other = ({name: t.clone() for name, t in of.items()} for of in (params, buffers))
        with Watch() as made:  # on copies, as forward may change them
            self.skeleton.losses(one, other, self.rates[:n_seeds], {}, x, y)
        lower_layers(self.skeleton.module)
        bound = bound_of(self.config, self.dtype) if self.config.compile else None
        self.training = Program(self.training, bound)
        self.evaluation = Program(self.evaluation, as_it_is=EVALUATIONS)
        members_per_pass = max(1, LARGEST // made.largest) if on_cpu else sys.maxsize
        n_trials = self.n_members // n_seeds
        return n_seeds * math.ceil(n_trials / math.ceil(n_trials / members_per_pass))

    def select(self, trials: Sequence[int]) -> None:
        """Continue with only these trials."""
        members = torch.arange(self.n_members, device=self.device).view(-1, len(self.seeds))
        rows = members[list(trials)].flatten()
        kept = {name: param[rows] for name, param in self.params.items()}
        self.params = lay_out(self.skeleton.module, kept)
        self.buffers = {name: buffer[rows] for name, buffer in self.buffers.items()}
        self.rates, self.each = self.rates[rows], [self.each[k] for k in rows.tolist()]
        self.optimizer = self.optimizer.selected(self.params, trials, rows)

    @torch.no_grad()
    def member(self, k: int) -> nn.Module:
        """Return one member as a plain model, with copies of its weights and buffers."""
        model = build_model(*self.each[k], self.device, self.dtype)
        for name, param in model.named_parameters():
            param.copy_(self.params[name][k])
        for name, buffer in model.named_buffers():
            buffer.copy_(self.buffers[name][k])
        return model

    @torch.no_grad()
    def load(self, k: int, model: nn.Module) -> None:
        """Copy the weights and buffers of a plain model into one member."""
        for name, param in model.named_parameters():
            self.params[name][k] = param
        for name, buffer in model.named_buffers():
            self.buffers[name][k] = buffer

    def gradients(self, k: int) -> dict[str, Tensor | None]:
        """Return the gradients of one member by parameter name."""
        return {name: self.optimizer.gradient(name, k) for name in self.params}
