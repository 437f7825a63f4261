"""Models as people write them: each member is what it is alone, and what a plain loop makes of it.

The loops at the end use nothing of the engine but its published noise.
"""

import functools

import pytest
import torch
from torch.nn import functional as F

from sweep.command.config import TrainConfig
from sweep.engine import proof
from sweep.engine.noise import hashed_uniform, order_and_keys, site_keys
from tests.conftest import DEVICE
from tests.engine import zoo
from tests.engine.members import (
    RATES,
    SEEDS,
    apart,
    proven,
    setting,
    settings,
    split_in_two,
    trained,
)

pytestmark = pytest.mark.slow
CONFIG = TrainConfig(epochs=2, batch_size=8, lr=3e-3, eval_batch_size=16)
N, N_VAL, N_CLASSES = 17 * 4 + 4, 20, 4  # after 16 steps of a size they are traced
MODELS = {model.__name__: model for model in (*zoo.OF_WORDS, *zoo.OF_IMAGES)}
CONVOLVED = ("MnistBefore", "MnistNow", "Dense")
PLAIN = {
    **dict.fromkeys((*CONVOLVED, "Efficient"), "convolutions on a CPU"),
    **dict.fromkeys(
        ("Bert", "BertEager"), "as one program it fails"
    ),  # they look whether there is padding
    **dict.fromkeys(("LSTM", "GRU"), "as one program it fails"),
    "Swin": "its rate acts outside",  # in stochastic depth
}


@functools.cache
def data(name):
    """Return sequences of words that end in padding, or images."""
    generator = torch.Generator().manual_seed(0)
    n = N + N_VAL
    if MODELS[name] in zoo.OF_WORDS:
        x = torch.randint(1, zoo.WORDS, (n, zoo.LENGTH), generator=generator).float()
        ends = torch.randint(4, zoo.LENGTH + 1, (n, 1), generator=generator)
        x[torch.arange(zoo.LENGTH) >= ends] = 0
    else:
        x = torch.randn(n, 1, 28, 28, generator=generator)
    y = torch.randint(N_CLASSES, (n,), generator=generator)
    y[:N_CLASSES] = torch.arange(N_CLASSES)
    return split_in_two(x, y, N)


@functools.cache
def plainly(name):
    return trained(settings(MODELS[name], CONFIG, data(name)), SEEDS, CONFIG, data(name))


def members():
    return enumerate((rate, seed) for rate in RATES for seed in SEEDS)


@pytest.mark.parametrize("name", MODELS)
def test_plain_member_is_what_it_is_alone(name):
    curves, states = plainly(name)
    for k, (rate, seed) in members():
        each = settings(MODELS[name], CONFIG, data(name), [rate])
        own = trained(each, [seed], CONFIG, data(name))
        assert apart(own, (curves[..., k : k + 1], states[k : k + 1])) == 0
    assert not torch.equal(curves[:, 0, 0], curves[:, 0, -2])  # the rate does something


@pytest.mark.parametrize("name", MODELS)
def test_proven_way_trains_as_the_plain_one(name):
    way = proven(MODELS[name], CONFIG, data(name))
    if DEVICE.type == "cpu" or not PLAIN.get(name, "").startswith("convolutions"):
        assert way.fused != (name in PLAIN) and way.why.startswith(PLAIN.get(name, ""))
    compare(name, way)


@pytest.mark.parametrize("name", CONVOLVED)
def test_convolutions_are_fused_rightly_where_they_are(name, monkeypatch):
    monkeypatch.setattr(proof, "CONVOLVED", 2)
    way = proven(MODELS[name], CONFIG, data(name))
    assert way.fused
    compare(name, way)


def compare(name, way):
    """Train in a way that is not plain; it must not be far from the plain one."""
    error = 0.0
    if way.fused:
        each = settings(MODELS[name], CONFIG, data(name))
        error = apart(trained(each, SEEDS, CONFIG, data(name), way), plainly(name))
    print(f"\n| {name} | {way.kind} | {way.why} | {error:.0e} |")
    assert error < 1e-8


# ---- plain loops, their masks multiplied by hand


class Masks:
    """The masks of the sites of one step, in the order of calls."""

    def __init__(self, key):
        self.key, self.site = key, 0

    def __call__(self, rate, *shape):
        numbers = hashed_uniform(site_keys(self.key, self.site), torch.Size(shape))[0]
        self.site += 1
        return (numbers < 1 - rate).double() / (1 - rate)


def functional(net, x, rate, masks):
    x = x.flatten(1)
    h = F.relu(net.fc1(x * masks(0.2, *x.shape)))
    return net.fc2(h * masks(rate, *h.shape))


def convolutional(net, x, rate, masks):
    h = F.relu(F.max_pool2d(net.conv1(x), 2))
    h = net.conv2(h)
    h = F.relu(F.max_pool2d(h * masks(rate, *h.shape[:2], 1, 1), 2))
    h = F.relu(net.fc1(h.flatten(1)))
    return (net.fc2(h * masks(rate, *h.shape))).log_softmax(1)


def attentive(net, x, rate, masks):
    h, heads = net.embed(x.long()), net.attention.num_heads
    q, k, v = (
        (h @ weight.T + bias).unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, heads, T, width)
        for weight, bias in zip(
            net.attention.in_proj_weight.chunk(3), net.attention.in_proj_bias.chunk(3), strict=True
        )
    )
    weights = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)
    seen = (weights * masks(rate, *weights.shape)) @ v
    return net.head((h + net.attention.out_proj(seen.transpose(1, 2).flatten(2))).mean(1))


def recurrent(net, x, rate, masks):
    x = x.squeeze(1).transpose(0, 1)  # (T, B, features): so torch's kernels have it
    for layer in range(2):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        w_in, w_on, b_in, b_on = (getattr(net.rnn, f"{name}_l{layer}") for name in names)
        h = c = x.new_zeros(x.shape[1], w_on.shape[1])
        outputs = []
        for now in x:
            i, f, g, o = (now @ w_in.T + b_in + h @ w_on.T + b_on).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        x = torch.stack(outputs)
        if layer == 0:
            x = x * masks(rate, *x.shape)
    return net.head(x[-1])


def by_calls(net, x, rate, masks):
    """Any network that drops by torch.nn.functional.dropout alone, which is put out of its way."""

    def dropped(x, p=0.5, training=True, inplace=False):
        return x * masks(p, *x.shape) if training else x

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "dropout", dropped)
        return net(x)


def loop(name, rate, seed):
    """Train as anybody would; return validation losses and the network's state."""
    samples = data(name).to(DEVICE, torch.float64)
    torch.manual_seed(seed)
    net = setting(MODELS[name], rate, CONFIG, samples).build().to(DEVICE, torch.float64)
    adamw = torch.optim.AdamW(net.parameters(), lr=CONFIG.lr, weight_decay=0.01)
    losses = []
    for epoch in range(CONFIG.epochs):
        order, keys = (t.to(DEVICE) for t in order_and_keys(seed, epoch, N, CONFIG.batch_size))
        net.train()
        for step, rows in enumerate(order.split(CONFIG.batch_size)):
            x, y = samples.train[rows]
            masks = Masks(keys[step : step + 1])
            adamw.zero_grad()
            F.cross_entropy(LOOPS[name](net, x, rate, masks), y).backward()
            adamw.step()
        net.eval()
        with torch.no_grad():
            x, y = samples.val[torch.arange(N_VAL, device=DEVICE)]
            losses.append(F.cross_entropy(net(x), y))
    return torch.stack(losses), net.state_dict()


LOOPS = {
    "Functional": functional,
    "MnistBefore": convolutional,
    "Attention": attentive,
    "LSTM": recurrent,
    **dict.fromkeys(("MnistNow", "Dense", "BertEager"), by_calls),
}


@pytest.mark.parametrize("name", LOOPS)
def test_plain_engine_is_a_loop_by_hand(name):
    curves, states = plainly(name)
    for k, (rate, seed) in members():
        losses, state = loop(name, rate, seed)
        error = apart((losses, [state]), (curves[:, 1, k], [states[k]]))
        print(f"\n| {name} | rate {rate} | {error:.0e} |")
        assert error < 1e-11
