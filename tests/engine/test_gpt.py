"""The model of models/gpt.py, alone and as members of a population that reads text."""

import math

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional as F

from models.gpt import GPT, Block, GPTConfig
from models.transformer import Block as EncoderBlock
from models.transformer import TransformerConfig
from sweep.command.config import TrainConfig
from sweep.command.rate import TINY
from sweep.command.space import Axis
from sweep.engine.inspection import try_out
from sweep.engine.noise import order_and_keys
from sweep.engine.optimizer import OptimizerNumbers
from sweep.engine.plain import run_once
from sweep.engine.population import FUSED, Population
from sweep.engine.proof import prove_way
from sweep.engine.setting import Candidates, Setting
from sweep.errors import BadInput
from sweep.places import CONF
from sweep.work import Way
from sweep.workload.data import load_data
from sweep.workload.model import model_builder
from tests.conftest import DEVICE

YAML = yaml.safe_load((CONF / "model/gpt.yaml").read_text())
TEXT = yaml.safe_load((CONF / "data/text.yaml").read_text())
SMALL = {"depth": 2, "width": 16, "n_head": 2}
RATES = [0.0, 0.1, 0.5]
T, VOCABULARY = 12, 30


def gpt(**numbers):
    torch.manual_seed(0)
    return GPT(GPTConfig(**{**SMALL, "input_shape": (T,), "n_classes": VOCABULARY, **numbers}))


def tokens(*shape):
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(1))


# ---- alone


@pytest.mark.parametrize("place", range(T))
def test_a_token_changes_no_logit_before_it(place):
    model, one = gpt().double().eval(), tokens(3, T)
    other = one.clone()
    other[:, place] = (one[:, place] + 1) % VOCABULARY
    before, after = model(one), model(other)
    torch.testing.assert_close(before[:, :place], after[:, :place], rtol=0, atol=1e-12)
    assert ((before - after)[:, place:].abs().amax(-1) > 1e-9).all()


def test_fewer_tokens_give_the_beginning_of_the_logits():
    model, x = gpt().double().eval(), tokens(3, T)
    torch.testing.assert_close(model(x[:, :5]), model(x)[:, :5], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("depth", "width", "n_head"), [(2, 16, 2), (3, 24, 4), (1, 8, 1)])
def test_shape_and_parameter_count(depth, width, n_head):
    model = gpt(depth=depth, width=width, n_head=n_head)
    block = 12 * width**2 + 13 * width
    assert model(tokens(3, T)).shape == (3, T, VOCABULARY)
    count = sum(p.numel() for p in model.parameters())
    assert count == (VOCABULARY + T) * width + depth * block + 2 * width


def test_the_head_is_the_token_embedding():
    model = gpt()
    assert model.head.weight is model.embed.weight
    assert "head.weight" not in dict(model.named_parameters())


def test_it_begins_as_gpt2():
    model = gpt(width=128, depth=8, n_classes=500)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert not p.any()
        elif p.dim() == 1:
            assert (p == 1).all()
        else:
            std = 0.02 / (4 if name.endswith("proj.weight") else 1)
            assert abs(p.std() / std - 1) < 0.1 and abs(p.mean()) < 0.1 * std


def test_it_begins_with_the_loss_of_a_guess():
    model, x = gpt(n_classes=500), tokens(64, T)
    loss = F.cross_entropy(model(x).flatten(0, 1), x.roll(-1, 1).flatten())
    assert abs(loss.item() - math.log(500)) < 0.1


def test_dropout_is_off_in_evaluation_and_at_rate_0():
    x = tokens(3, T)
    model, without = gpt(dropout=0.5), gpt()
    expected = without.eval()(x)
    assert torch.equal(model.eval()(x), expected)
    torch.testing.assert_close(without.train()(x), expected)
    assert not torch.allclose(model.train()(x), expected)


def test_every_dropout_site_is_passed_at_its_rate():
    model = gpt(dropout=0.25, attention_dropout=0.75).train()
    _, sites = run_once(model, tokens(3, T), TrainConfig(), noting=True)
    block = [("scaled_dot_product_attention", 0.75), ("dropout", 0.25), ("dropout", 0.25)]
    assert [(call.function, call.rate) for call in sites.calls] == [("dropout", 0.25), *block * 2]


def test_attention_has_the_rate_of_dropout_unless_it_has_its_own():
    for own, rate in ((None, 0.25), (0.0, 0.0), (0.75, 0.75)):
        model = gpt(dropout=0.25, attention_dropout=own)
        assert [block.attn.dropout for block in model.blocks] == [rate, rate]
        assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.25}


def test_a_block_is_the_encoders_that_looks_back_only():
    ours, theirs = Block(GPTConfig(**SMALL)).double(), EncoderBlock(TransformerConfig(**SMALL))
    theirs = theirs.double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, T, 16, dtype=torch.float64)
    torch.testing.assert_close(ours(x)[:, -1], theirs(x)[:, -1], rtol=0, atol=1e-12)
    for n in range(1, T):  # the last of a part looks at the whole part
        torch.testing.assert_close(ours(x)[:, n - 1], theirs(x[:, :n])[:, -1], rtol=0, atol=1e-12)


def test_the_yaml_holds_every_number_with_its_default():
    own = vars(GPTConfig())
    given = {"dropout", "input_shape", "n_classes"}
    assert {k: v for k, v in YAML.items() if k != "_target_"} == {
        k: v for k, v in own.items() if k not in given
    }


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ({"width": 66}, "width 66 must be a multiple of n_head 4"),
        ({"depth": 0}, "depth must be at least 1, but got 0"),
        ({"n_head": "many"}, "n_head"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_wrong_numbers_are_refused_in_one_line(numbers, complaint):
    with pytest.raises(BadInput, match=complaint) as caught:
        model_builder({**YAML, **numbers}, 0.1, (T,), VOCABULARY)
    assert "\n" not in str(caught.value)


def test_images_are_refused_in_one_line(digits32):
    with pytest.raises(BadInput, match=r"needs sequences of tokens \(T,\)") as caught:
        try_out(YAML, [Axis("dropout", (0.0, 0.5))], digits32, TrainConfig())
    assert "\n" not in str(caught.value)


# ---- members of a population that reads text


@pytest.fixture(scope="module")
def text():
    config = {**TEXT, "length": T, "n_chars": 50_000, "n_train": 100, "n_val": 20}
    return load_data(config).to(DEVICE, torch.float64)


def setting(text, rate, **numbers):
    model = {**YAML, **SMALL, **numbers}
    build = model_builder(model, rate, text.input_shape, text.n_classes)
    return Setting(build, OptimizerNumbers(1e-3, 0.01))


def population(text, rates, seeds, way=FUSED, **numbers):
    settings = [setting(text, rate, **numbers) for rate in rates]
    return Population(settings, seeds, TrainConfig(batch_size=48), DEVICE, torch.float64, way)


def trained(members, text):
    losses = [members.train_epoch(text.train, epoch) for epoch in range(2)]
    return [*losses, *members.evaluate(text.val).values()]


@pytest.mark.parametrize("numbers", [{}, {"attention_dropout": 0.3}])
def test_fused_gives_the_numbers_of_one_by_one(text, numbers):
    ways = [population(text, RATES, [3, 4], way, **numbers) for way in (FUSED, Way("plain"))]
    for one, other in zip(*(trained(members, text) for members in ways), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_a_member_is_the_same_alone_and_among_others(text):
    alone, among = (
        trained(population(text, rates, seeds), text)
        for rates, seeds in (([0.5], [4]), (RATES, [3, 4]))
    )
    for one, other in zip(alone, among, strict=True):
        torch.testing.assert_close(other.view(3, 2)[2, 1], one[0], rtol=0, atol=1e-10)


def test_rate_0_is_a_plain_training_loop(text):
    members = population(text, RATES, [3])
    torch.manual_seed(3)
    model = setting(text, 0.0).build().to(DEVICE, torch.float64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    for epoch in range(2):
        members.train_epoch(text.train, epoch)
        order = order_and_keys(3, epoch, len(text.train), 48)[0].to(DEVICE)
        for rows in order.split(48):
            x, y = text.train[rows]
            optimizer.zero_grad()
            F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
            optimizer.step()
    for name, weight in model.named_parameters():
        ours = members.engine.params[name][0]
        torch.testing.assert_close(ours, weight, rtol=0, atol=1e-10)
    outcomes = members.evaluate(text.val)
    with torch.no_grad():
        logits, y = model.eval()(text.val.inputs), text.val.targets
    loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
    torch.testing.assert_close(outcomes["loss"][0], loss, rtol=0, atol=1e-10)
    wrong = (logits.argmax(-1) != y).double().mean()
    torch.testing.assert_close(outcomes["token_error"][0], wrong, rtol=0, atol=1e-12)


def test_it_is_proven_to_be_plain_pytorch(text):
    tried = [setting(text, rate) for rate in (TINY, 0.4, 0.8)]
    some = Candidates(tried, setting(text, 0), setting(text, TINY))
    way = prove_way(some, TrainConfig(batch_size=48), text, DEVICE)
    assert (way.kind, way.why) == ("fused", "")


def test_both_rates_can_be_searched(text):
    axes = [Axis("dropout", (0.0, 0.5)), Axis("model.attention_dropout", (0.0, 0.5))]
    assert try_out({**YAML, **SMALL}, axes, text.to(DEVICE), TrainConfig()) == []


def test_it_learns_a_text_by_heart(text):
    one = Setting(setting(text, 0.0, width=32).build, OptimizerNumbers(3e-3, 0.0))
    members = Population([one], [0], TrainConfig(batch_size=100), DEVICE)
    few = text.to(DEVICE).train
    first = members.evaluate(few)["loss"].item()
    for epoch in range(150):
        members.train_epoch(few, epoch)
    assert members.evaluate(few)["loss"].item() < 0.4 * first
