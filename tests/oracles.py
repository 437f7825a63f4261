"""Models and data whose answer is known in closed form or by construction."""

import torch
from torch import nn

N, FEATURES, COPIES = 80, 40, 16


class Linear(nn.Module):
    """Least squares with dropout on the inputs."""

    def __init__(self, config):
        super().__init__()
        self.drop = nn.Dropout(config.dropout)
        self.fc = nn.Linear(FEATURES, 2, bias=False)

    def forward(self, x):
        return self.fc(self.drop(x))


class Dead(nn.Module):
    """A network whose dropout does next to nothing."""

    def __init__(self, config):
        super().__init__()
        self.drop = nn.Dropout(config.dropout)
        self.fc = nn.Linear(784, 10)

    def forward(self, x):
        x = x.flatten(1)
        return self.fc(x + 1e-4 * self.drop(x))


def samples(split, wrong=0.0):
    """Two classes of noisy linear origin; in training, a part of the labels is wrong."""
    seed = ["train", "val", "test"].index(split)
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(FEATURES, generator=torch.Generator().manual_seed(9)) / FEATURES**0.5
    x = torch.randn(N if split == "train" else 2000, FEATURES, generator=generator)
    y = (x @ truth + torch.randn(len(x), generator=generator) > 0).long()
    flip = torch.rand(len(x), generator=generator) < (wrong if split == "train" else 0)
    return x, torch.where(flip, 1 - y, y)


def linear(config, split):
    """The training samples many times over, so that an epoch has many steps."""
    x, y = samples(split, config.wrong)
    return (x.repeat(COPIES, 1), y.repeat(COPIES)) if split == "train" else (x, y)


def ridge(rate, wrong=0.0):
    """Validation loss of the network that ridge_outputs describes."""
    outputs, y = ridge_outputs(rate, wrong)
    return ((outputs - nn.functional.one_hot(y, 2)) ** 2).mean().item()


def ridge_error(rate, wrong=0.0):
    outputs, y = ridge_outputs(rate, wrong)
    return (outputs.argmax(1) != y).double().mean().item()


def ridge_outputs(rate, wrong=0.0):
    """Return what dropout on the inputs of least squares makes of the validation samples.

    Outputs (N, 2) and classes (N,). Srivastava et al. 2014, section 9.1, in terms of the rate d
    of dropping:
    |Y - X W|^2 + d / (1 - d) |diag(X'X)^(1/2) W|^2.
    """
    (x, y), (x_val, y_val) = samples("train", wrong), samples("val")
    x, x_val = x.double(), x_val.double()
    hot = nn.functional.one_hot(y, 2).double()
    gram = x.T @ x
    weights = torch.linalg.solve(gram + rate / (1 - rate) * gram.diag().diag(), x.T @ hot)
    return x_val @ weights, y_val
