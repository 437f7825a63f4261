"""Members on a GPU that need not be there: tensors with a shape and a device, but no numbers.

An operation on tensors of two devices fails as it would there. The backward pass is not tried.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import stack_module_state

from sweep.command.config import TrainConfig, job_config, typed_config
from sweep.command.flags import Places
from sweep.command.program import compose
from sweep.engine.augment import augmented
from sweep.engine.layers import lay_out, lower_layers
from sweep.engine.noise import order_and_keys
from sweep.engine.plain import build_model
from sweep.engine.setting import setting_of
from sweep.engine.vmapped import Skeleton
from sweep.workload.data import load_data
from sweep.workload.inputs import map_inputs

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SEEDS, K, SITES, B, N = 2, 4, 20, 8, 20
DIGITS = ["data=mnist5k", "data.n_train=20", "data.n_val=20"]
TEXT = ["data=text", "data.n_chars=4000", "data.n_train=20", "data.n_val=20"]


def losses_and_outcomes(model: nn.Module, data, config):
    """Train and evaluate K members of a model on the GPU; return the losses and outcomes."""
    params, buffers = (
        {name: t.detach() for name, t in of.items()} for of in stack_module_state([model] * K)
    )
    params, rates = lay_out(model, params), torch.full((K, SITES), 0.3, dtype=torch.float64)
    of_seeds = [order_and_keys(seed, 0, N, B) for seed in range(SEEDS)]
    order, keys = (torch.stack(each) for each in zip(*of_seeds, strict=True))
    skeleton = Skeleton(model, SEEDS, config)
    skeleton.live = [True] * SITES
    lower_layers(skeleton.module)
    with FakeTensorMode() as mode:

        def there(tensor):
            return mode.from_tensor(tensor).to(GPU)

        params, buffers = ({name: there(t) for name, t in of.items()} for of in (params, buffers))
        split = replace(
            data.train,
            inputs=map_inputs(there, data.train.inputs),
            targets=there(data.train.targets),
        )
        keys = there(keys).T
        skeleton.noise.begin(keys)
        for step, rows in enumerate(torch.split(there(order), B, dim=1)[:2]):
            skeleton.noise.move(step)
            x, y = split[rows]
            x = augmented(lambda t: t.flip(-1), x, range(SEEDS))
            numbers = skeleton.numbers(B)  # of which the first step shows the shapes
            losses = skeleton.losses(params, buffers, there(rates), numbers, x, y)
            skeleton.shapes[B] = {site: t.shape[1:] for site, t in numbers.items()}
        assert numbers and all(t.device.type == "cuda" for t in numbers.values())
        skeleton.module.eval()
        return losses, skeleton.outcomes(params, buffers, *split[torch.arange(N, device=GPU)])


@pytest.mark.parametrize("name", ["mlp", "cnn", "rnn", "transformer", "gpt"])
def test_forward_noise_and_evaluation_stay_on_one_device(name):
    overrides = [f"model={name}", *(TEXT if name == "gpt" else DIGITS)]
    config = typed_config(job_config(compose(overrides, Places())))
    data = load_data(config.data)
    model = build_model(setting_of(config, {"dropout": 0.3}, data, None), 0, CPU, torch.float32)
    train = replace(config.train, loss="cross_entropy", class_axis=None)
    losses, outcomes = losses_and_outcomes(model, data, train)
    assert losses.device == outcomes.device == torch.device("cuda:0")
    assert losses.shape == (K,) and outcomes.shape == (4, K, N)


class Scaled(nn.Module):
    """Makes a tensor of numbers on the CPU wherever its inputs are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Dropout(0.3))

    def forward(self, x):
        return self.layers(x) * torch.ones(10)


def test_a_tensor_on_another_device_is_noticed():
    config = typed_config(job_config(compose(["model=mlp", *DIGITS], Places())))
    with pytest.raises(RuntimeError, match=r"cuda:0.*cpu"):
        losses_and_outcomes(Scaled(), load_data(config.data), TrainConfig(loss="cross_entropy"))
