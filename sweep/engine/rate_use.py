"""Whether a searched rate changes what is trained."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from sweep.engine.attributes import changed_attribute, forward_attributes
from sweep.engine.equal import equal_bits
from sweep.engine.objective import loss_of
from sweep.engine.optimizer import OptimizerNumbers
from sweep.engine.plain import plain_optimizer, run_once
from sweep.engine.site import Call
from sweep.engine.tried import TriedModel
from sweep.errors import BadInput
from sweep.workload.model import described_model

RATES = 0.25, 0.75  # at which training must differ if the rate is searched
STEPS = 12  # of each training that is compared, as long as they are equal


def check_use(key: str, trial: TriedModel) -> None:
    """Raise BadInput if two values of a rate give the same outputs and gradients in all steps.

    A model that changes its attributes may drop later, so it passes, as one that diverges does.
    """
    calls: list[Call] = []
    try:
        for one, other in zip(*(_steps(key, trial, rate) for rate in RATES), strict=True):
            if one is None or other is None or not _equal_steps(one, other):
                return
            calls += one.calls
    except Exception:
        return  # these rates may not be searched; if they are, the trial reports its failure
    seen = ", ".join(dict.fromkeys(map(str, calls)))
    raise BadInput(
        f"{described_model(trial.model)}: {key} is searched, but training is the same at "
        f"{RATES[0]} and {RATES[1]}: {f'the only dropout is {seen}' if seen else 'nothing drops'}"
    )


@dataclass(frozen=True)
class Step:
    """What one training step of a tried model gave."""

    tensors: list[Tensor | None]  # the outputs, and the gradient of each weight
    calls: list[Call]  # that dropped


def _equal_steps(one: Step, other: Step) -> bool:
    mine, theirs = one.tensors, other.tensors
    return len(mine) == len(theirs) and all(map(equal_bits, mine, theirs))


def _steps(key: str, trial: TriedModel, rate: float) -> Iterator[Step | None]:
    """Train a model with other random numbers in each step; yield None once that is inconclusive.

    There are many steps, as a call that drops all or nothing may do the same at two rates.
    """
    numbers = {} if key == "dropout" else {key.removeprefix("model."): rate}
    at = trial.rate if numbers else rate
    model = replace(trial, model={**trial.model, **numbers}, rate=at).built().train()
    optimizer = plain_optimizer(model, OptimizerNumbers(trial.config.lr, 0.0), trial.config)
    before = forward_attributes(model)
    for step in range(STEPS):
        optimizer.zero_grad()
        outputs, sites = run_once(model, trial.x, trial.config, noting=True, step=step)
        loss_of(outputs, trial.y, trial.config).backward()  # type: ignore[no-untyped-call]
        tells = outputs.isfinite().all()
        if not tells or changed_attribute(before, forward_attributes(model)):
            yield None
        yield Step([outputs.detach(), *(p.grad for p in model.parameters())], sites.calls)
        optimizer.step()
