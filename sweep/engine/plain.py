"""Defines the result: each member is the user's own model, trained alone by torch's own optimiser.

Its class builds it at its rate after the seed was set, and it has its own buffers, attributes and
frozen weights. Only the source of its random numbers is ours (sweep/engine/site.py).
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sweep.command.config import TrainConfig
from sweep.engine.checkpoint import follow_checkpoints
from sweep.engine.noise import Noise
from sweep.engine.objective import loss_of, outcomes_of
from sweep.engine.optimizer import OptimizerNumbers, parameter_group, torch_optimizer
from sweep.engine.schedule import Schedule
from sweep.engine.setting import Setting
from sweep.engine.site import Alone, Sites
from sweep.errors import Differs
from sweep.workload import generators
from sweep.workload.generators import ALL, Kinds
from sweep.workload.inputs import Inputs, call_with, device_of, input_tensors, map_inputs

follow_checkpoints()  # before any model's module imports the name
# of nn.TransformerEncoder in evaluation: it rounds unlike training, and has no vmap rule
torch.backends.mha.set_fastpath_enabled(False)


def build_model(setting: Setting, seed: int, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Build one network after seeding all generators.

    In single precision its tensors keep the dtypes that they are built with.
    """
    with generators.restoring_states():
        generators.seed_generators(ALL, seed)
        model = setting.build().to(device)
    if "torch._dynamo" in sys.modules:  # compiled code runs eagerly, so its calls are seen
        torch.compiler.set_stance("force_eager")
    return model.double() if dtype == torch.float64 else model


def outputs_of(model: Callable[..., Any], x: Inputs, config: TrainConfig) -> Tensor:
    """Return the model's outputs: a tensor, or the `logits` or first part of what it returns.

    They are in single precision at least.
    """
    with torch.autocast(device_of(x).type, torch.bfloat16, enabled=config.precision == "bf16"):
        outputs = _tensor_in(call_with(model, x))
    return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs


def _tensor_in(outputs: Any) -> Tensor:
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(logits := getattr(outputs, "logits", None), Tensor):
        return logits
    if isinstance(outputs, tuple | list) and outputs and isinstance(outputs[0], Tensor):
        return outputs[0]
    kind = type(outputs).__name__
    raise TypeError(f"gives a {kind}, not a tensor, an object with .logits or a tuple of tensors")


def run_once(
    model: nn.Module,
    x: Inputs,
    config: TrainConfig,
    force: float | None = None,
    dropping: bool = True,
    noting: bool = False,
    step: int = 0,
) -> tuple[Tensor, Sites]:
    """Return a model's outputs for x, with the random numbers of a fixed step, and its sites.

    `force` replaces all rates; nothing is dropped unless `dropping`.
    """
    noise = Noise()
    noise.begin(torch.full((1, 1), 20_070 + step, dtype=torch.int32, device=device_of(x)))
    with generators.restoring_states():
        generators.seed_generators(ALL, generators.NOBODYS + step)
        with Sites(Alone(noise, force), noting, dropping) as sites:
            own = map_inputs(Tensor.clone, x)  # as forward may write into it
            return outputs_of(model, own, config), sites


class Plain:
    """Trains K = P * S members (trial by trial), one after another in each step."""

    members_per_pass = 1
    compiled = False

    def __init__(
        self,
        settings: Sequence[Setting],
        seeds: Sequence[int],
        config: TrainConfig,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        draws: Kinds = frozenset(),
    ) -> None:
        self.config, self.n_seeds = config, len(seeds)
        self.models = [
            build_model(setting, seed, device, dtype) for setting in settings for seed in seeds
        ]
        each = [setting for setting in settings for _ in seeds]
        self.optimizers = [
            plain_optimizer(model, setting.numbers, config)
            for model, setting in zip(self.models, each, strict=True)
        ]
        self.schedule = Schedule(config)
        self.noises = [Noise() for _ in seeds]
        self.sites = [Sites(Alone(noise)) for noise in self.noises]
        self.draws = {True: draws, False: draws}  # by training or not: generators to seed
        self.known = {True: bool(draws), False: bool(draws)}  # else found in the first step
        self.writes = bool(draws)  # whether forward may write into its input
        self.in_evaluation = 0  # how many sites draw in evaluation

    @property
    def n_members(self) -> int:
        return len(self.models)

    def begin(self, keys: Tensor, training: bool) -> None:
        """Begin an epoch or an evaluation, whose steps have noise keys (n_steps, S)."""
        self.keys, self.training = keys.tolist(), training
        for noise, own in zip(self.noises, torch.split(keys, 1, dim=1), strict=True):
            noise.begin(own)
        for model in self.models:
            model.train(training)
        if training:
            self.schedule.begin_epoch(len(keys))

    def backward(self, x: Inputs, y: Tensor, step: int) -> Tensor:
        """Compute the gradients of a step; x (S, B, ...), y (S, B). Returns the losses (K,)."""

        def member(k: int, seed: int) -> Tensor:
            self.optimizers[k].zero_grad()
            with self.sites[seed].begin():
                outputs = self._outputs(k, map_inputs(lambda t: t[seed], x))
            loss = loss_of(outputs, y[seed], self.config)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        return torch.stack(self._each(member, step))

    def move(self, step: int) -> None:
        """Take an optimiser step with the gradients of a step."""
        for model, optimizer in zip(self.models, self.optimizers, strict=True):
            self.schedule.set_lr(optimizer, step)
            take_step(model, optimizer, self.config)

    def end_epoch(self) -> None:
        self.schedule.end_epoch()

    @torch.no_grad()
    def outcomes(self, x: Inputs, y: Tensor, step: int) -> Tensor:
        """Return each member's outcomes_of a batch, (4, K, B); x and y (B, ...)."""

        def member(k: int, seed: int) -> Tensor:
            with self.sites[seed].begin() as sites:
                outputs = self._outputs(k, x)
            self.in_evaluation = max(self.in_evaluation, sites.drawn)
            return outcomes_of(outputs, y, self.config)

        return torch.stack(self._each(member, step), 1)

    def _outputs(self, k: int, x: Inputs) -> Tensor:
        """Run a member on a batch, or on its own copy if forward may write into it."""
        shared = self.known[self.training] and not self.writes
        own = x if shared else map_inputs(Tensor.clone, x)
        versions = _versions(own)
        outputs = outputs_of(self.models[k], own, self.config)
        if _versions(own) != versions and not self.writes:
            if own is x:
                raise Differs("its forward writes into its input", tuple(sorted(ALL)))
            self.writes = True
        return outputs

    def _each(self, member: Callable[[int, int], Tensor], step: int) -> list[Tensor]:
        """Run a step of each member, seed by seed, so that all rates of a seed share its noise."""
        if not self.known[self.training]:
            with generators.restoring_states():
                return self._find_draws(member, step)
        kinds = self.draws[self.training]
        done = {}
        for k, seed in self._order(step):
            generators.seed_generators(kinds, self.keys[step][seed])
            done[k] = member(k, seed)
        return [done[k] for k in range(self.n_members)]

    def _find_draws(self, member: Callable[[int, int], Tensor], step: int) -> list[Tensor]:
        """Do the same with all generators seeded, and record which of them are drawn from."""
        done, found = {}, set[str]()
        for k, seed in self._order(step):
            generators.seed_generators(ALL, self.keys[step][seed])
            before = generators.generator_states()
            done[k] = member(k, seed)
            found |= generators.moved_generators(before)
        self.draws[self.training], self.known[self.training] = frozenset(found), True
        return [done[k] for k in range(self.n_members)]

    def _order(self, step: int) -> Iterator[tuple[int, int]]:
        """Move the noise to a step; yield each member and its seed's index, seed by seed."""
        for seed, noise in enumerate(self.noises):
            noise.move(step)
            for k in range(seed, self.n_members, self.n_seeds):
                yield k, seed

    def select(self, trials: Sequence[int]) -> None:
        """Continue with only these trials."""
        rows = [trial * self.n_seeds + seed for trial in trials for seed in range(self.n_seeds)]
        self.models = [self.models[k] for k in rows]
        self.optimizers = [self.optimizers[k] for k in rows]

    def member(self, k: int) -> nn.Module:
        return self.models[k]

    def gradients(self, k: int) -> dict[str, Tensor | None]:
        """Return the gradients of one member by parameter name."""
        return gradients_of(self.models[k])


def _versions(x: Inputs) -> list[int]:
    """Return each tensor's version, which counts in-place writes."""
    return [tensor._version for tensor in input_tensors(x).values()]


def gradients_of(model: nn.Module) -> dict[str, Tensor | None]:
    return {name: param.grad for name, param in model.named_parameters()}


def plain_optimizer(
    model: nn.Module, numbers: OptimizerNumbers, config: TrainConfig
) -> torch.optim.Optimizer:
    params = list(model.parameters())
    # fused AdamW takes only floats; fused SGD fails if a weight gets its first gradient late
    fused = config.optimizer == "adamw" and all(param.is_floating_point() for param in params)
    return torch_optimizer([parameter_group(params, numbers)], config, fused)


def take_step(model: nn.Module, optimizer: torch.optim.Optimizer, config: TrainConfig) -> None:
    """Clip a model's gradients if clip_norm is set, and take an optimiser step."""
    if config.clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    optimizer.step()
