"""Models that do what is hard to train many at once, each beside a twin that does it plainly.

Both draw the same start, in the same order.
"""

import functools
import random
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
from torchvision.ops import StochasticDepth

FEATURES, WIDTH, WORDS = 6, 8, 5
SWITCHED = []  # what a forward may read, and nobody sees
DRAWN = []  # what was drawn outside torch


class Net(nn.Module):
    """One hidden layer with dropout; what is peculiar stands in `hidden`."""

    def __init__(self, config):
        super().__init__()
        self.p = config.dropout
        self.fc1 = nn.Linear(FEATURES, WIDTH)
        self.fc2 = nn.Linear(WIDTH, config.n_classes)
        self.make(config)

    def make(self, config):
        self.drop = nn.Dropout(config.dropout)

    def hidden(self, x):
        return self.drop(F.relu(self.fc1(x)))

    def forward(self, x):
        return self.fc2(self.hidden(x))


class OtherAsOneProgram(Net):
    """Is another network if it is evaluated as one program on so many samples."""

    def hidden(self, x):
        h = super().hidden(x)
        wrapped = torch._C._functorch.is_functorch_wrapped_tensor(self.fc1.weight)
        return 1.02 * h if wrapped and not self.training and len(x) in SWITCHED else h


# ---- weights


class TiedModule(Net):
    def make(self, config):
        super().make(config)
        self.again = nn.Linear(WIDTH, WIDTH, bias=False)
        self.more = nn.Linear(WIDTH, WIDTH, bias=False)
        self.more.weight = self.again.weight

    def hidden(self, x):
        return self.more(F.relu(self.again(super().hidden(x))))


class TiedFunction(TiedModule):
    def hidden(self, x):
        h = F.relu(self.again(Net.hidden(self, x)))
        return F.linear(h, self.again.weight)


class CalledTwice(TiedModule):
    def make(self, config):
        Net.make(self, config)
        self.again = nn.Linear(WIDTH, WIDTH, bias=False)

    def hidden(self, x):
        return self.again(F.relu(self.again(Net.hidden(self, x))))


class Frozen(Net):
    def make(self, config):
        super().make(config)
        self.fc1.weight.requires_grad_(False)


class FrozenAsBuffer(Net):
    def make(self, config):
        super().make(config)
        self.register_buffer("fixed", self.fc1.weight.detach().clone())
        del self.fc1.weight

    def hidden(self, x):
        return self.drop(F.relu(F.linear(x, self.fixed, self.fc1.bias)))


class Padding(Net):
    """Word 0 is padding, whose row stays at 0."""

    def make(self, config):
        super().make(config)
        self.embed = nn.Embedding(WORDS, FEATURES, padding_idx=0)

    def words(self, x):
        return (x[:, 0] * 2).abs().long() % WORDS

    def hidden(self, x):
        return super().hidden(x + self.embed(self.words(x)))


class PaddingByHand(Padding):
    def make(self, config):
        Net.make(self, config)
        self.weight = nn.Parameter(torch.randn(WORDS, FEATURES))
        with torch.no_grad():
            self.weight[0] = 0

    def hidden(self, x):
        known = F.one_hot(self.words(x), WORDS).to(x.dtype)[:, 1:]
        return Net.hidden(self, x + known @ self.weight[1:])


class WeightNorm(Net):
    def make(self, config):
        super().make(config)
        self.fc1 = nn.utils.parametrizations.weight_norm(self.fc1)


class WeightNormOfOld(Net):
    def make(self, config):
        super().make(config)
        self.fc1 = nn.utils.weight_norm(self.fc1)


class WeightNormByHand(WeightNorm):
    def hidden(self, x):
        own = self.fc1.parametrizations.weight
        size, direction = own.original0, own.original1
        weight = direction * (size / direction.norm(dim=1, keepdim=True))
        return self.drop(F.relu(F.linear(x, weight, self.fc1.bias)))


class SpectralNorm(Net):
    def make(self, config):
        super().make(config)
        self.fc1 = nn.utils.parametrizations.spectral_norm(self.fc1)


class SpectralNormByHand(SpectralNorm):
    def hidden(self, x):
        weight = self.fc1.parametrizations.weight.original
        own = self.fc1.parametrizations.weight[0]
        if self.training:
            with torch.no_grad():
                own._u.copy_(F.normalize(weight @ own._v, dim=0, eps=1e-12))
                own._v.copy_(F.normalize(weight.T @ own._u, dim=0, eps=1e-12))
        u, v = own._u.clone(), own._v.clone()
        return self.drop(F.relu(F.linear(x, weight / (u @ weight @ v), self.fc1.bias)))


# ---- what is kept beside weights


class Assigned(Net):
    """A buffer that each forward assigns anew."""

    def make(self, config):
        super().make(config)
        self.register_buffer("mean", torch.zeros(WIDTH))

    def hidden(self, x):
        h = F.relu(self.fc1(x))
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * h.mean(0).detach()
        return self.drop(h - self.mean)


class InPlace(Assigned):
    def hidden(self, x):
        h = F.relu(self.fc1(x))
        if self.training:
            with torch.no_grad():
                self.mean.copy_(0.9 * self.mean + 0.1 * h.mean(0))
        return self.drop(h - self.mean.clone())


class Projected(Net):
    """A random projection that is a tensor and no buffer."""

    def make(self, config):
        super().make(config)
        self.projection = torch.randn(FEATURES, FEATURES)

    def hidden(self, x):
        return super().hidden(x @ self.projection.to(x.dtype))


class ProjectedAlike(Projected):
    """One that is the same for all seeds."""

    def make(self, config):
        Net.make(self, config)
        generator = torch.Generator().manual_seed(1)
        self.projection = torch.randn(FEATURES, FEATURES, generator=generator)


class ProjectedByBuffer(Projected):
    def make(self, config):
        Net.make(self, config)
        self.register_buffer("projection", torch.randn(FEATURES, FEATURES))


class ProjectedAlikeByBuffer(Projected):
    def make(self, config):
        Net.make(self, config)
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("projection", torch.randn(FEATURES, FEATURES, generator=generator))


class ProjectedInSingle(Projected):
    """One that stays of single precision, so that in double the model fails."""

    def hidden(self, x):
        return Net.hidden(self, x @ self.projection)


class Counts(Net):
    def make(self, config):
        super().make(config)
        self.seen = {"calls": 0}

    def hidden(self, x):
        self.seen["calls"] += self.training
        return super().hidden(x)


class NotesRest(Net):
    """Keeps something from the last batch of an epoch, which is smaller."""

    def hidden(self, x):
        if self.training and len(x) < 4:
            self.rest = len(x)
        return super().hidden(x)


class Lists(Net):
    def make(self, config):
        super().make(config)
        self.means = []

    def hidden(self, x):
        h = super().hidden(x)
        self.means.append(h.detach().mean())
        return h


class Switched(Net):
    """A forward that becomes another by what nobody sees."""

    def hidden(self, x):
        return super().hidden(x) * (2 if SWITCHED else 1)


# ---- rates


class RateSet(Net):
    def make(self, config):
        self.drop = nn.Dropout(0.5)

    def hidden(self, x):
        self.drop.p = self.p
        return super().hidden(x)


class RateRamped(Net):
    """A rate that grows with the steps."""

    def make(self, config):
        super().make(config)
        self.steps = 0

    def hidden(self, x):
        self.steps += self.training
        self.drop.p = self.p * min(1, self.steps / 10)
        return super().hidden(x)


class RateRampedByBuffer(Net):
    def make(self, config):
        super().make(config)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def hidden(self, x):
        if self.training:
            self.steps += 1
        p = self.p * min(1, self.steps.item() / 10)
        return F.dropout(F.relu(self.fc1(x)), p, self.training)


class RateAsNumber(Net):
    def hidden(self, x):
        return super().hidden(x) * (1 - self.p)


class RateAsNumberByBuffer(Net):
    def make(self, config):
        super().make(config)
        self.register_buffer("keep", torch.tensor(1 - config.dropout, dtype=torch.float64))

    def hidden(self, x):
        return super().hidden(x) * self.keep.to(x.dtype)


class OrIdentity(Net):
    def make(self, config):
        self.drop = nn.Dropout(config.dropout) if config.dropout > 0 else nn.Identity()


class RateInBand(Net):
    """One that is another at a few rates, in training alone."""

    def hidden(self, x):
        return super().hidden(x) * (2 if self.training and 0.1 < self.p < 0.2 else 1)


class CallsInBand(Net):
    """One that drops once more at a few rates."""

    def hidden(self, x):
        h = super().hidden(x)
        return F.dropout(h, 0.2, self.training) if 0.1 < self.p < 0.2 else h


class Divides(Net):
    """One that cannot be asked at rate 0."""

    def hidden(self, x):
        return super().hidden(x) * (self.p / self.p)


class Turned(Net):
    """Rotated by a complex buffer, as rotary embeddings are."""

    def make(self, config):
        super().make(config)
        angles = torch.arange(WIDTH // 2, dtype=torch.float32)
        self.register_buffer("turn", torch.polar(torch.ones_like(angles), angles))

    def hidden(self, x):
        pairs = torch.view_as_complex(super().hidden(x).unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * self.turn).flatten(-2)


class TurnedByHand(Net):
    def make(self, config):
        super().make(config)
        angles = torch.arange(WIDTH // 2, dtype=torch.float32)
        turn = torch.polar(torch.ones_like(angles), angles)
        self.register_buffer("cos", turn.real.clone())
        self.register_buffer("sin", turn.imag.clone())

    def hidden(self, x):
        a, b = super().hidden(x).unflatten(-1, (-1, 2)).unbind(-1)
        turned = a * self.cos - b * self.sin, a * self.sin + b * self.cos
        return torch.stack(turned, -1).flatten(-2)


class WritesInput(Net):
    def hidden(self, x):
        return super().hidden(x.add_(1.0))


class AddsToInput(Net):
    def hidden(self, x):
        return super().hidden(x + 1.0)


class Compiled(Net):
    """Whose dropout stands in a part that is compiled."""

    def make(self, config):
        self.part = torch.compile(nn.Sequential(nn.ReLU(), nn.Dropout(config.dropout)))

    def hidden(self, x):
        return self.part(self.fc1(x))


class MakesParameter(Net):
    """One of whose numbers a trace would freeze."""

    def hidden(self, x):
        h = F.relu(self.fc1(x))
        return self.drop(h * nn.Parameter(h.detach().mean(0) + 1))


class MakesTensor(Net):
    def hidden(self, x):
        h = F.relu(self.fc1(x))
        return self.drop(h * (h.detach().mean(0) + 1))


class SeedsItself(Net):
    """Whose random features are always the same."""

    def hidden(self, x):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            return super().hidden(x) * torch.randn(WIDTH).to(x)


class SeededBefore(Net):
    def make(self, config):
        super().make(config)
        features = torch.randn(WIDTH, generator=torch.Generator().manual_seed(3))
        self.register_buffer("features", features)

    def hidden(self, x):
        return super().hidden(x) * self.features


class OrFewer(Net):
    """At rate 0 a network without its last layer."""

    def make(self, config):
        super().make(config)
        if config.dropout > 0:
            self.more = nn.Linear(WIDTH, WIDTH)

    def hidden(self, x):
        h = super().hidden(x)
        return self.more(h) if self.p > 0 else h


class Attends(Net):
    """Attention over the features, its rate that of a module."""

    def make(self, config):
        super().make(config)
        self.qkv = nn.Linear(1, 3 * WIDTH)

    def split(self, x):
        return self.qkv(x[..., None]).chunk(3, -1)

    def hidden(self, x):
        p = self.drop.p if self.training else 0.0
        seen = F.scaled_dot_product_attention(*self.split(x), dropout_p=p)
        return super().hidden(x) + seen.mean(1)


class AttendsByHand(Attends):
    def hidden(self, x):
        q, k, v = self.split(x)
        weights = (q @ k.mT / WIDTH**0.5).softmax(-1)
        seen = self.drop(weights) @ v
        return Net.hidden(self, x) + seen.mean(1)


class DropsInPlace(Net):
    def make(self, config):
        self.drop = nn.Dropout(config.dropout, inplace=True)

    def hidden(self, x):
        h = self.fc1(x)
        self.drop(h)
        return F.relu(h)


class DropsOutOfPlace(Net):
    def hidden(self, x):
        return F.relu(self.drop(self.fc1(x)))


# ---- other draws


class LayerDropByPython(Net):
    def hidden(self, x):
        h = super().hidden(x)
        if self.training:
            DRAWN.append(random.random())
            return h if DRAWN[-1] < 0.5 else h * 0.5
        return h


class LayerDropByNumpy(Net):
    def hidden(self, x):
        h = super().hidden(x)
        if self.training:
            DRAWN.append(np.random.rand())
            return h if DRAWN[-1] < 0.5 else h * 0.5
        return h


class DrawsLater(Net):
    """One that draws from Python's generator once something has happened."""

    def hidden(self, x):
        h = super().hidden(x)
        return h * random.random() if self.training and SWITCHED else h


class DrawsWhole(Net):
    """One that draws whole numbers, which are no numbers of a site."""

    def hidden(self, x):
        h = super().hidden(x)
        if self.training:
            DRAWN.append(torch.randint(0, 1000, ()).item())
            return h * (DRAWN[-1] / 1000)
        return h


@functools.cache
def scripted():
    """Return dropout as a script, which Python does not see."""

    @torch.jit.script
    def drop(x: torch.Tensor, p: float, training: bool):
        return F.dropout(x, p, training)

    return drop


class Scripted(Net):
    def make(self, config):
        pass

    def hidden(self, x):
        return scripted()(F.relu(self.fc1(x)), self.p, self.training)


class Depth(Net):
    """Stochastic depth of a rate that is not searched."""

    def make(self, config):
        super().make(config)
        self.depth = StochasticDepth(0.25, "row")

    def hidden(self, x):
        return self.depth(super().hidden(x))


class DepthByHand(Net):
    def hidden(self, x):
        h = super().hidden(x)
        return h * (torch.rand(len(h), 1) < 0.75).to(h.dtype) / 0.75 if self.training else h


class Rand(Net):
    def hidden(self, x):
        h = super().hidden(x)
        return h * (torch.rand(h.shape) < 0.75) if self.training else h


class RandLike(Net):
    def hidden(self, x):
        h = super().hidden(x)
        return h * (torch.rand_like(h) < 0.75) if self.training else h


class Bernoulli(Net):
    def hidden(self, x):
        h = super().hidden(x)
        return h * torch.bernoulli(torch.full_like(h, 0.75)) if self.training else h


class BernoulliInPlace(Net):
    def hidden(self, x):
        h = super().hidden(x)
        return h * torch.empty_like(h).bernoulli_(0.75) if self.training else h


class BernoulliUnreturned(Net):
    """One that uses not what bernoulli_ returns but what it wrote."""

    def hidden(self, x):
        h = super().hidden(x)
        if not self.training:
            return h
        mask = torch.zeros(h.shape, dtype=h.dtype)
        mask.bernoulli_(0.75)
        return h * mask


class Normal(Net):
    def hidden(self, x):
        h = super().hidden(x)
        return h + torch.randn_like(h) if self.training else h


class NormalOfShape(Net):
    def hidden(self, x):
        h = super().hidden(x)
        return h + torch.randn(h.shape, dtype=h.dtype) if self.training else h


class NormalInPlace(Net):
    def hidden(self, x):
        h = super().hidden(x)
        return h + torch.empty_like(h).normal_() if self.training else h


# ---- layers


class Deep(Net):
    """Three layers with dropout, plainly."""

    def make(self, config):
        super().make(config)
        rate = config.dropout
        self.more = nn.Sequential(
            *(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Dropout(rate)),
            *(nn.Linear(WIDTH, WIDTH), nn.Dropout(rate)),
        )

    def hidden(self, x):
        return self.more(super().hidden(x))


class CheckpointedReentrant(Deep):
    def hidden(self, x):
        h = Net.hidden(self, x)
        return checkpoint(self.more, h, use_reentrant=True) if h.requires_grad else self.more(h)


class Checkpointed(Deep):
    def hidden(self, x):
        return checkpoint(self.more, Net.hidden(self, x), use_reentrant=False)


class CheckpointedParts(Deep):
    def hidden(self, x):
        return checkpoint_sequential(self.more, 2, Net.hidden(self, x), use_reentrant=False)


class BatchNorm(Net):
    def make(self, config):
        super().make(config)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.fc1.bias = None  # which would learn from nothing but rounding

    def hidden(self, x):
        return self.drop(F.relu(self.norm(self.fc1(x))))


class BatchNormByHand(BatchNorm):
    def hidden(self, x):
        h, norm = self.fc1(x), self.norm
        if self.training:
            variance, mean = torch.var_mean(h, 0, correction=0)
            with torch.no_grad():
                norm.num_batches_tracked += 1
                norm.running_mean += 0.1 * (mean - norm.running_mean)
                unbiased = variance * len(h) / (len(h) - 1)
                norm.running_var += 0.1 * (unbiased - norm.running_var)
        else:
            variance, mean = norm.running_var, norm.running_mean
        h = (h - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
        return self.drop(F.relu(h))


class BatchNormOfBatch(BatchNorm):
    def make(self, config):
        Net.make(self, config)
        self.norm = nn.BatchNorm1d(WIDTH, track_running_stats=False)
        self.fc1.bias = None


class BatchNormOfBatchByHand(BatchNormOfBatch):
    def hidden(self, x):
        h = self.fc1(x)
        variance, mean = torch.var_mean(h, 0, correction=0)
        h = (h - mean) / (variance + self.norm.eps).sqrt() * self.norm.weight + self.norm.bias
        return self.drop(F.relu(h))


def samples(config: SimpleNamespace, split: str):
    """Three classes that overlap."""
    generator = torch.Generator().manual_seed(["train", "val", "test"].index(split))
    n = 74 if split == "train" else 30
    x = torch.randn(n, FEATURES, generator=generator)
    return x, (x[:, :3] + torch.randn(n, 3, generator=generator)).argmax(1)
