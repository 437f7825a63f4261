"""What every model in conf/model/ must do, those added later too; and the oracles of each."""

from dataclasses import replace

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional as F

from models.rnn import GRU, LSTM
from models.transformer import Block, TransformerConfig
from sweep.command.config import TrainConfig
from sweep.command.rate import TINY
from sweep.command.space import Axis
from sweep.engine.inspection import try_out
from sweep.engine.noise import order_and_keys
from sweep.engine.optimizer import OptimizerNumbers
from sweep.engine.population import FUSED, Population
from sweep.engine.proof import prove_way
from sweep.engine.setting import Candidates, Setting
from sweep.errors import BadInput
from sweep.places import CONF
from sweep.work import Way
from sweep.workload.data import Data
from sweep.workload.model import config_class, model_builder, model_class
from sweep.workload.split import Split
from tests.conftest import DEVICE, sites

# of images; test_gpt.py has that of text
MODELS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in CONF.glob("model/*.yaml")
    if path.stem != "gpt"
}
RATES = [0.0, 0.1, 0.5, 0.9]
N_PARAMETERS = {"mlp": 269_322, "cnn": 56_042, "rnn": 43_658, "transformer": 105_098}
every_model = pytest.mark.parametrize("name", sorted(MODELS))


def build(name, rate=0.0, **numbers):
    return model_builder({**MODELS[name], **numbers}, rate, (1, 28, 28), 10)


def population(name, rates, seeds, way=FUSED):
    settings = [Setting(build(name, rate), OptimizerNumbers(1e-3, 0.01)) for rate in rates]
    return Population(settings, seeds, TrainConfig(batch_size=50), DEVICE, torch.float64, way)


def setting(name, rate, **numbers):
    return Setting(build(name, rate, **numbers), OptimizerNumbers(1e-3, 0.01))


@pytest.fixture(scope="module")
def few(digits):
    """The first digits of the training set."""
    return Split(
        digits.train.inputs[:200], digits.train.targets[:200], {"": (0.13, 0.31)}, torch.float64
    )


def test_the_golden_counts_name_every_model():
    assert set(N_PARAMETERS) == set(MODELS)


@every_model
def test_shape_and_parameter_count(name):
    model = build(name)()
    assert model(torch.zeros(3, 1, 28, 28)).shape == (3, 10)
    assert sum(p.numel() for p in model.parameters()) == N_PARAMETERS[name]


@every_model
def test_yaml_holds_every_number_with_its_default(name):
    schema = config_class(model_class(MODELS[name]["_target_"]))
    config = schema()
    own = {
        k: v for k, v in vars(config).items() if k not in ("dropout", "input_shape", "n_classes")
    }
    assert {k: v for k, v in MODELS[name].items() if k != "_target_"} == own


@every_model
def test_rate_0_in_training_is_evaluation(name):
    torch.manual_seed(0)
    model, x = build(name, 0.0)(), torch.rand(5, 1, 28, 28)
    assert torch.equal(model.train()(x), model.eval()(x))


@every_model
def test_every_dropout_site_is_alive_at_its_members_rate(name):
    members = population(name, RATES, [0, 1], Way("plain"))
    plain = [m.p for m in build(name, 0.5)().modules() if isinstance(m, nn.Dropout)]
    assert len(plain) > 0
    keys = torch.stack([order_and_keys(s, 0, 100, 50)[1][0] for s in (0, 1)])
    for (before, after), with_half in zip(
        sites(members, keys, train=True).values(), plain, strict=True
    ):
        for k, rate in enumerate(rate for rate in RATES for _ in (0, 1)):
            rate = rate * (with_half > 0)  # a site whose own rate is 0 by default
            alive = before[k] != 0
            n = alive.sum().item()
            dropped = ((after[k] == 0) & alive).sum().item() / n
            assert abs(dropped - rate) <= 4.5 * (rate * (1 - rate) / n) ** 0.5
            kept = (after[k] != 0) & alive
            torch.testing.assert_close(after[k][kept], before[k][kept] / (1 - rate))


@every_model
def test_a_rate_of_its_own_reaches_its_site(name, digits32):
    for key in (k for k in MODELS[name] if k.endswith("_dropout")):
        model = build(name, 0.2, **{key: 0.7})()
        rates = [m.p for m in model.modules() if isinstance(m, nn.Dropout)]
        assert 0.7 in rates and 0.2 in rates
        axes = [Axis("dropout", (0.0, 0.5)), Axis(f"model.{key}", (0.0, 0.5))]
        assert try_out(MODELS[name], axes, digits32, TrainConfig()) == []


@every_model
def test_fused_equals_alone(name, few):
    def losses(rates, seeds):
        members = population(name, rates, seeds)
        members.train_epoch(few, 0)
        return members.evaluate(few)["loss"].view(len(rates), len(seeds))

    alone, mixed = losses([0.5], [4]), losses(RATES, [3, 4])
    torch.testing.assert_close(mixed[2, 1], alone[0, 0], rtol=0, atol=1e-10)


@every_model
def test_it_is_proven_to_be_plain_pytorch(name, few):
    some = Candidates(
        [setting(name, rate) for rate in (TINY, 0.4, 0.8)], setting(name, 0), setting(name, TINY)
    )
    config = TrainConfig(batch_size=48)  # the last batch is ragged
    way = prove_way(some, config, Data(few, few, few, ""), DEVICE)
    on_cpu = name == "cnn" and DEVICE.type == "cpu"
    assert (way.kind, way.why) == (
        ("plain", "convolutions on a CPU are faster one by one") if on_cpu else ("fused", "")
    )


@pytest.mark.skipif(DEVICE.type != "cpu", reason="they are slower as one program on a CPU only")
def test_large_tensors_are_trained_one_by_one(digits32):
    sizes = {"mlp": {"width": 1024}, "transformer": {}}
    for name, size in sizes.items():
        few, many = (TrainConfig(batch_size=n) for n in (16, 256))
        some = Candidates(
            [setting(name, rate, **size) for rate in (TINY, 0.4, 0.8)],
            setting(name, 0, **size),
            setting(name, TINY, **size),
        )
        ways = [
            prove_way(some, config, digits32, DEVICE)
            for config in (few, many, replace(many, compile=True))
        ]
        assert [way.kind for way in ways] == ["fused", "plain", "fused"]
        assert ways[1].why == "tensors this large are faster one by one on a CPU"


@every_model
def test_fused_gives_the_numbers_of_one_by_one(name, few):
    ways = [population(name, RATES, [3, 4], way) for way in (FUSED, Way("plain"))]
    losses = [members.train_epoch(few, 0) for members in ways]
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-10)


@every_model
def test_rate_0_member_is_the_plain_network(name, few):
    members = population(name, RATES, [3])
    torch.manual_seed(3)
    model = build(name)().to(DEVICE, torch.float64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    for epoch in range(2):
        members.train_epoch(few, epoch)
        for rows in order_and_keys(3, epoch, len(few), 50)[0].to(DEVICE).split(50):
            x, y = few[rows]
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    for parameter, weight in model.named_parameters():
        ours = members.engine.params[parameter][0]
        torch.testing.assert_close(ours, weight, rtol=0, atol=1e-10)


@every_model
def test_overfits_64_digits(name, few):
    settings = [Setting(build(name), OptimizerNumbers(3e-3, 0.0))]
    members = Population(settings, [0], TrainConfig(batch_size=64), DEVICE)
    some = Split(few.inputs[:64], few.targets[:64], few.scales)
    for epoch in range(300):
        members.train_epoch(some, epoch)
        if epoch % 20 == 19 and members.evaluate(some)["error"].item() == 0:
            return
    pytest.fail("not all 64 samples are learnt after 300 steps")


@every_model
def test_wrong_numbers_are_refused_in_one_line(name):
    for key, value in MODELS[name].items():
        if isinstance(value, int):
            for bad in (0, -1, 1.5, "many"):
                with pytest.raises(BadInput, match=key) as caught:
                    build(name, **{key: bad})
                assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="nonsense"):
        build(name, nonsense=1)


@pytest.mark.parametrize(
    ("name", "numbers", "complaint"),
    [
        ("rnn", {"cell": "elman"}, "cell must be one of gru, lstm"),
        ("transformer", {"width": 66}, "must be a multiple of n_head"),
        ("transformer", {"patch": 5}, "patch 5 does not divide"),
    ],
)
def test_numbers_that_do_not_fit_together(name, numbers, complaint):
    with pytest.raises(BadInput, match=complaint):
        build(name, **numbers)


@pytest.mark.parametrize(("ours", "torchs"), [(GRU, nn.GRU), (LSTM, nn.LSTM)])
def test_recurrent_layers_are_torchs(ours, torchs):
    torch.manual_seed(0)
    layer, oracle = ours(28, 16).double(), torchs(28, 16, batch_first=True).double()
    oracle.weight_ih_l0.data, oracle.bias_ih_l0.data = layer.ih.weight.data, layer.ih.bias.data
    oracle.weight_hh_l0.data, oracle.bias_hh_l0.data = layer.hh.weight.data, layer.hh.bias.data
    x = torch.randn(5, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(layer(x), oracle(x)[0], rtol=0, atol=1e-12)


def test_transformer_block_is_torchs():
    torch.manual_seed(0)
    block = Block(TransformerConfig(width=32, n_head=4)).double()
    oracle = nn.TransformerEncoderLayer(
        32, 4, 128, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    for theirs, mine in (
        (oracle.self_attn.out_proj, block.attn.proj),
        (oracle.linear1, block.mlp.fc),
        (oracle.linear2, block.mlp.proj),
        (oracle.norm1, block.ln_1),
        (oracle.norm2, block.ln_2),
    ):
        theirs.load_state_dict(mine.state_dict())
    oracle.self_attn.in_proj_weight.data = block.attn.qkv.weight.data
    oracle.self_attn.in_proj_bias.data = block.attn.qkv.bias.data
    x = torch.randn(5, 17, 32, dtype=torch.float64)
    torch.testing.assert_close(block(x), oracle(x), rtol=0, atol=1e-12)


def test_files_of_models_import_torch_only():
    for path in (CONF.parent / "models").glob("*.py"):
        imports = [line for line in path.read_text().splitlines() if "import" in line.split()[:3]]
        allowed = ("import torch", "from torch", "import math", "from dataclasses")
        assert all(line.startswith(allowed) for line in imports), path
