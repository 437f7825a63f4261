"""Each hazard beside a twin: fused or not, it trains as the plainest model that does the same."""

import functools
import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional as F

from sweep.command.config import TrainConfig
from sweep.engine import layers
from sweep.engine.fused import Fused
from sweep.engine.noise import order_and_keys
from sweep.engine.optimizer import StackedOptimizer
from sweep.engine.population import Population
from sweep.engine.vmapped import Skeleton
from sweep.errors import Differs
from sweep.work import Way
from sweep.workload import generators
from tests.conftest import DEVICE
from tests.engine import hazards as h
from tests.engine.members import (
    PLAIN,
    RATES,
    SEEDS,
    apart,
    distance,
    proven,
    setting,
    settings,
    split_in_two,
    trained,
)

CONFIG = TrainConfig(epochs=2, batch_size=4, lr=0.01)  # of 18 whole steps an epoch: traced after 16
FUSED = Way("fused")
ANEW = "which is neither a parameter nor a buffer"


@pytest.fixture(scope="module")
def data():
    return samples()


@functools.cache
def samples():
    (x, y), (x_val, y_val) = (h.samples(None, split) for split in ("train", "val"))
    return split_in_two(torch.cat([x, x_val]), torch.cat([y, y_val]), len(x))


@functools.cache
def plainly(model):
    return trained(settings(model, CONFIG, samples()), SEEDS, CONFIG, samples())


@pytest.fixture
def switch():
    """What the forward of some models reads, and nobody sees."""
    yield h.SWITCHED.append
    h.SWITCHED.clear()


TWINS = [  # a model, one that does the same, and why it is plain; or it is fused
    (h.TiedModule, h.CalledTwice, ""),
    (h.TiedFunction, h.CalledTwice, ""),
    (h.Frozen, h.FrozenAsBuffer, ""),
    (h.FrozenAsBuffer, h.Frozen, ""),
    (h.Padding, h.PaddingByHand, ""),
    (h.WeightNorm, h.WeightNormByHand, ""),
    (h.WeightNormOfOld, h.WeightNormByHand, f"its forward changes fc1.weight, {ANEW}"),
    (h.SpectralNorm, h.SpectralNormByHand, "as one program it fails"),
    (h.SpectralNormByHand, h.SpectralNorm, ""),
    (h.Assigned, h.InPlace, "the buffer mean would differ"),
    (h.InPlace, h.Assigned, ""),
    (h.Projected, h.ProjectedByBuffer, "the loss would differ"),
    (h.ProjectedByBuffer, h.Projected, ""),
    (h.ProjectedAlike, h.ProjectedAlikeByBuffer, ""),
    (h.Counts, h.Net, f"its forward changes seen, {ANEW}"),
    (h.NotesRest, h.Net, f"its forward changes rest, {ANEW}"),
    (h.Lists, h.Net, f"its forward changes means, {ANEW}"),
    (h.RateSet, h.Net, f"its forward changes drop.p, {ANEW}"),
    (h.RateRamped, h.RateRampedByBuffer, f"its forward changes steps, {ANEW}"),
    (h.RateRampedByBuffer, h.RateRamped, "as one program it fails"),
    (h.RateAsNumber, h.RateAsNumberByBuffer, "its rate acts outside dropout calls"),
    (h.RateAsNumberByBuffer, h.RateAsNumber, "its rate acts outside dropout calls"),
    (h.OrIdentity, h.Net, ""),
    (h.WritesInput, h.AddsToInput, "its forward writes into its input"),
    (h.AddsToInput, h.WritesInput, ""),
    (h.Compiled, h.Net, ""),
    (h.MakesParameter, h.MakesTensor, ""),
    (h.SeedsItself, h.SeededBefore, "as one program it fails"),
    (h.TurnedByHand, h.Turned, ""),
    (h.Turned, h.TurnedByHand, ""),
    (h.Attends, h.AttendsByHand, ""),
    (h.DropsInPlace, h.DropsOutOfPlace, ""),
    (h.Depth, h.DepthByHand, ""),
    (h.Rand, h.RandLike, ""),
    (h.Bernoulli, h.RandLike, ""),
    (h.BernoulliInPlace, h.RandLike, ""),
    (h.BernoulliUnreturned, h.RandLike, "the loss would differ"),
    (h.Normal, h.NormalOfShape, ""),
    (h.NormalInPlace, h.NormalOfShape, ""),
    (h.CheckpointedReentrant, h.Deep, ""),
    (h.Checkpointed, h.Deep, "as one program it fails"),
    (h.CheckpointedParts, h.Deep, "as one program it fails"),
    (h.BatchNorm, h.BatchNormByHand, ""),
    (h.BatchNormOfBatch, h.BatchNormOfBatchByHand, ""),
]


def test_evaluation_is_proven_on_batches_of_all_sizes(data, switch):
    n = len(data.val)
    config = replace(CONFIG, eval_batch_size=n - 3)
    assert CONFIG.batch_size not in (n - 3, 3)
    assert proven(h.OtherAsOneProgram, config, data).fused
    for size in (n - 3, 3):
        h.SWITCHED.clear()
        switch(size)
        way = proven(h.OtherAsOneProgram, config, data)
        assert way.why.startswith("the loss in evaluation would differ")


def test_model_that_seeds_as_the_process_was_seeded_is_seen(data):
    with torch.random.fork_rng():
        torch.manual_seed(3)  # as the model does in forward
        way = proven(h.SeedsItself, CONFIG, data)
        assert way.why.startswith("as one program it fails")
        mine = trained(settings(h.SeedsItself, CONFIG, data), SEEDS, CONFIG, data)
    twin = trained(settings(h.SeededBefore, CONFIG, data), SEEDS, CONFIG, data)
    assert distance(mine[0], twin[0]) < 1e-8


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("model, twin, why", TWINS, ids=lambda part: getattr(part, "__name__", ""))
def test_hazard_trains_as_its_twin(model, twin, why, data):
    way = proven(model, CONFIG, data)
    assert way.fused == (not why) and way.why.startswith(why) and not way.zero
    curves, states = trained(settings(model, CONFIG, data), SEEDS, CONFIG, data, way)
    others, other_states = plainly(twin)
    assert distance(curves, others) < 1e-8
    for mine, theirs in zip(states, other_states, strict=True):
        for name in mine.keys() & theirs.keys():
            assert distance(mine[name], theirs[name]) < 1e-8


def test_model_that_fails_in_double_precision_trains_in_single(data):
    way = proven(h.ProjectedInSingle, CONFIG, data)
    assert way.why.startswith("in double precision it fails")
    mine, twin = (
        trained(settings(model, CONFIG, data), SEEDS, CONFIG, data, way, torch.float32)
        for model in (h.ProjectedInSingle, h.ProjectedByBuffer)
    )
    assert torch.equal(mine[0], twin[0])


def test_checkpoints_change_no_bit_of_a_plain_training():
    for model in (h.CheckpointedReentrant, h.Checkpointed, h.CheckpointedParts):
        assert apart(plainly(model), plainly(h.Deep)) == 0


def test_model_that_fails_at_rate_0_fails_there_and_there_only(data):
    way = proven(h.Divides, CONFIG, data)
    assert (way.kind, way.zero) == ("plain", True)
    with pytest.raises(ZeroDivisionError) as told:  # in the words of this Python
        _ = 1.0 / 0
    assert way.why == f"at rate 0 it fails: {told.value}"


def test_model_that_is_another_at_rate_0_is_that_at_rate_0(data):
    way = proven(h.OrFewer, CONFIG, data)
    assert (way.kind, way.zero) == ("plain", True)
    assert way.why.startswith("at rate 0 it is another network (more.weight), which shares only")
    each = settings(h.OrFewer, CONFIG, data, zero=way.zero)
    curves, states = trained(each, SEEDS, CONFIG, data, way)
    others, _ = plainly(h.Net)
    assert torch.equal(curves[..., :2], others[..., :2])
    assert ["more.weight" in state for state in states] == [False] * 2 + [True] * 4


# ---- draws that no site sees


def keys(seed, epoch, n):
    return [key % 2**32 for key in order_and_keys(seed, epoch, n, CONFIG.batch_size)[1].tolist()]


@pytest.mark.parametrize(
    "model, kind, draw",
    [
        (h.LayerDropByPython, "Python", random.random),
        (h.LayerDropByNumpy, "numpy", np.random.rand),
        (h.DrawsWhole, "torch", lambda: torch.randint(0, 1000, ()).item()),
    ],
)
def test_what_a_model_draws_elsewhere_is_keyed_and_shared_by_rates(model, kind, draw, data):
    way = proven(model, CONFIG, data)
    assert (way.kind, way.draws) == ("plain", ())
    assert way.why == f"in training it draws from the generator of {kind}"
    before = generators.generator_states()
    h.DRAWN.clear()
    trained(settings(model, CONFIG, data), SEEDS, CONFIG, data, way)
    assert not generators.moved_generators(before)  # the process's own are as they were
    with generators.restoring_states():
        expected = []
        for epoch in range(CONFIG.epochs):
            for step in zip(*(keys(seed, epoch, len(data.train)) for seed in SEEDS), strict=True):
                for key in step:  # of each seed; then of each of its rates
                    for _ in RATES:
                        generators.seed_generators(generators.ALL, key)
                        expected.append(draw())
    assert expected == h.DRAWN


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_dropout_in_a_script_is_torchs_own_with_keyed_seeds(data):
    way = proven(h.Scripted, CONFIG, data)
    assert way.why == "in training it draws from the generator of torch"
    curves, states = trained(settings(h.Scripted, CONFIG, data), SEEDS, CONFIG, data, way)
    for rate, k in ((0.3, 2), (0.6, 4)):
        own = loop(h.Scripted, rate, SEEDS[0], data.to(DEVICE, torch.float64))
        assert apart((curves[:, 1, k], states[k : k + 1]), own) < 1e-12


def loop(model, rate, seed, data):
    """Train as anybody would, torch's own dropout seeded before each step."""
    torch.manual_seed(seed)
    net = setting(model, rate, CONFIG, data).build().to(DEVICE, torch.float64)
    adamw = torch.optim.AdamW(net.parameters(), lr=CONFIG.lr, weight_decay=CONFIG.weight_decay)
    losses = []
    for epoch in range(CONFIG.epochs):
        order, _ = order_and_keys(seed, epoch, len(data.train), CONFIG.batch_size)
        net.train()
        seeds = keys(seed, epoch, len(data.train))
        for rows, key in zip(order.split(CONFIG.batch_size), seeds, strict=True):
            x, y = data.train[rows.to(DEVICE)]
            torch.manual_seed(key)
            adamw.zero_grad()
            F.cross_entropy(net(x), y).backward()
            adamw.step()
        net.eval()
        with torch.no_grad():
            x, y = data.val[torch.arange(len(data.val), device=DEVICE)]
            losses.append(F.cross_entropy(net(x), y))
    return torch.stack(losses), [net.state_dict()]


# ---- what no proof can see beforehand is seen in training


def population(model, data, way=FUSED, dtype=torch.float64):
    return Population(settings(model, CONFIG, data), SEEDS, CONFIG, DEVICE, dtype, way)


def epochs(members, data, first, last):
    for epoch in range(first, last):
        members.train_epoch(data.train, epoch)


def test_forward_that_becomes_another_is_seen_within_epochs(data, switch):
    assert proven(h.Switched, CONFIG, data).fused
    members = population(h.Switched, data := data.to(DEVICE, torch.float64))
    epochs(members, data, 0, 2)
    switch("on")
    with pytest.raises(Differs, match="would differ"):
        epochs(members, data, 2, 4)


@pytest.mark.parametrize(
    "model, why", [(h.RateInBand, "acts outside"), (h.CallsInBand, "calls differ between rates")]
)
def test_model_that_is_another_between_the_rates_of_the_proof_is_not_fused(model, why, data):
    assert proven(model, CONFIG, data).fused
    each = settings(model, CONFIG, data, [0.3, 0.15])
    with pytest.raises(Differs, match=why):  # whereupon a job trains its trials plainly
        trained(each, SEEDS, CONFIG, data, FUSED)
    alone = trained(each[1:], SEEDS, CONFIG, data, FUSED)
    assert apart(alone, trained(each[1:], SEEDS, CONFIG, data)) < 1e-8


@pytest.mark.parametrize("way", [FUSED, PLAIN], ids=["fused", "plain"])
def test_draws_that_come_late_are_seen_and_then_keyed(data, switch, way):
    assert proven(h.DrawsLater, CONFIG, data).fused
    members = population(h.DrawsLater, data, way, torch.float32)
    epochs(members, data, 0, 2)
    switch("on")
    with pytest.raises(Differs) as found:
        epochs(members, data, 2, 3)
    if not way.fused:  # there it is seen that numbers differ, before it is seen why
        assert found.value.draws == ("CUDA", "Python", "numpy", "torch")
    again = way.plainly(found.value.why, found.value.draws)
    each = settings(h.DrawsLater, CONFIG, data)
    one, other = (trained(each, SEEDS, CONFIG, data, again) for _ in range(2))
    assert apart(one, other) == 0 and apart(one, plainly(h.Net)) > 0.01


# ---- an engine that errs is found, by the proof and in training


def wrong_rates(patch):
    real = Fused._read_rates

    def read(self, x):
        real(self, x)
        self.rates *= 1.05

    patch.setattr(Fused, "_read_rates", read)


def wrong_seeds(patch):
    """Give each seed the noise of another."""
    real = Skeleton.numbers
    patch.setattr(
        Skeleton,
        "numbers",
        lambda self, n: {site: numbers.flip(0) for site, numbers in real(self, n).items()},
    )


def wrong_layers(patch):
    real = layers._Linear.vmap

    def vmap(*args):
        y, dim = real(*args)
        return y * 1.02, dim

    patch.setattr(layers._Linear, "vmap", staticmethod(vmap))


def lost_buffers(patch):
    real = Fused._some

    def some(self, rows):
        params, buffers = real(self, rows)
        return params, {name: buffer.clone() for name, buffer in buffers.items()}

    patch.setattr(Fused, "_some", some)


def wrong_decay(patch):
    real = StackedOptimizer.__init__

    def init(self, *args, **kwargs):
        real(self, *args, **kwargs)
        for group in self.inner.param_groups:
            group["weight_decay"] *= 1.05

    patch.setattr(StackedOptimizer, "__init__", init)


def wrong_evaluation(patch):
    real = Fused.outcomes
    too_much = torch.tensor([1.02, 1.0, 1.0, 1.0], device=DEVICE)[:, None, None]
    patch.setattr(Fused, "outcomes", lambda *args: real(*args) * too_much)


@pytest.mark.parametrize(
    "err", [wrong_rates, wrong_seeds, wrong_layers, lost_buffers, wrong_decay, wrong_evaluation]
)
def test_proof_finds_an_engine_that_errs(err, data, monkeypatch):
    err(monkeypatch)
    way = proven(h.BatchNorm, CONFIG, data)
    assert way.kind == "plain" and "would differ" in way.why


@pytest.mark.parametrize("err", [wrong_rates, wrong_seeds, wrong_layers, lost_buffers])
def test_step_repeated_in_each_epoch_finds_an_engine_that_errs(err, data, monkeypatch):
    epochs(population(h.BatchNorm, data, dtype=torch.float32), data, 0, 6)
    err(monkeypatch)
    with pytest.raises(Differs, match="would differ"):
        epochs(population(h.BatchNorm, data, dtype=torch.float32), data, 0, 6)


def test_last_evaluation_finds_an_engine_that_errs(data, monkeypatch):
    members = population(h.BatchNorm, data, dtype=torch.float32)
    members.check(data.val)
    wrong_evaluation(monkeypatch)
    with pytest.raises(Differs, match="the loss in evaluation"):
        members.check(data.val)


# ---- through the command


@pytest.fixture
def conf(tmp_path):
    """A folder of configs for the models and data of tests/engine/hazards.py."""
    names = ("Projected", "ProjectedByBuffer", "RateSet", "Net", "OrFewer", "RateInBand")
    files = {f"model/{name}.yaml": {"_target_": f"tests.engine.hazards.{name}"} for name in names}
    files["data/hazards.yaml"] = {"_target_": "tests.engine.hazards.samples"}
    for path, content in files.items():
        file = tmp_path / "own" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(content))
    return f"hydra.searchpath=[file://{tmp_path}/own]"


def losses(folder):
    """Return the validation loss of each rate in a study."""
    trials = json.loads((folder / "answer.json").read_text())["trials"]
    assert all(trial["state"] == "complete" for trial in trials)
    return {trial["params"]["dropout"]: trial["metrics"]["val_loss"]["mean"] for trial in trials}


STUDY = ["data=hazards", "train.batch_size=4", "train.lr=0.01", "dropout=0.0,0.3,0.6"]


@pytest.mark.parametrize(
    "model, twin", [("Projected", "ProjectedByBuffer"), ("RateSet", "Net")], ids=str
)
def test_command_gives_a_hazard_the_losses_of_its_twin(model, twin, sweep, conf):
    mine, other = (losses(sweep(conf, f"model={name}", *STUDY)) for name in (model, twin))
    assert mine == pytest.approx(other, rel=1e-4)
    assert len(set(mine.values())) == 3


def test_command_gives_rate_0_the_network_that_it_builds(sweep, conf):
    mine, other = (losses(sweep(conf, f"model={name}", *STUDY)) for name in ("OrFewer", "Net"))
    assert mine[0.0] == pytest.approx(other[0.0], rel=1e-4)
    assert mine[0.3] != pytest.approx(other[0.3], rel=1e-3)


def test_command_trains_apart_what_cannot_be_fused_at_all_rates(sweep, conf, monkeypatch):
    study = ["model=RateInBand", *STUDY[:-1], "dropout=0.0,0.15,0.3,0.6"]
    mine = losses(sweep(conf, *study))
    plain = Way("plain", device=DEVICE.type, torch=torch.__version__)
    monkeypatch.setattr("sweep.jobs.job.prove_way", lambda *args: plain)
    assert mine == pytest.approx(losses(sweep(conf, *study, "study.name=again")), rel=1e-4)


@pytest.mark.parametrize("proves", [True, False], ids=["proof", "steps"])
def test_command_gives_true_losses_where_an_engine_errs(proves, sweep, conf, monkeypatch):
    true = losses(sweep(conf, "model=Net", *STUDY))
    told = []
    monkeypatch.setattr("sweep.jobs.job.log.warning", lambda text, *args: told.append(text % args))
    wrong_layers(monkeypatch)
    if not proves:
        fused = Way("fused", device=DEVICE.type, torch=torch.__version__)
        monkeypatch.setattr("sweep.jobs.job.prove_way", lambda *args: fused)
    found = losses(sweep(conf, "model=Net", *STUDY, "study.name=again"))
    assert found == pytest.approx(true, rel=1e-4)
    how = "trained member by member" if proves else "trained again, member by member"
    assert any(text.startswith(f"{how}: the loss would differ") for text in told)
