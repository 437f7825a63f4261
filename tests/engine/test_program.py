"""A traced function against itself as it is, and compiled steps against the plain model."""

import pytest
import torch

from sweep.check import read_config
from sweep.engine.population import FUSED, Population
from sweep.engine.setting import candidates_of
from sweep.engine.traced import AS_IT_IS, Program
from sweep.work import Way
from sweep.workload.data import load_data
from tests.conftest import DEVICE


def test_from_some_call_on_the_operations_are_run_without_the_function():
    called = []

    def function(weights, buffers, x, y):
        called.append(len(x))
        buffers["seen"] += len(x)
        outputs = torch.vmap(lambda w: torch.tanh(x @ w) * y)(weights["w"])
        return outputs, {"nothing": None}

    program, generator = Program(function), torch.Generator().manual_seed(0)
    weights, seen = {"w": torch.randn(3, 4, 2, generator=generator)}, torch.zeros(1)
    for call in range(1, AS_IT_IS + 10):
        for n in (8, 5) if call <= AS_IT_IS else (8,):
            x, y = torch.randn(n, 4, generator=generator), torch.randn(n, 2, generator=generator)
            outputs, nothing = program(weights, {"seen": seen}, x, y)
            expected = torch.tanh(torch.stack([x @ w for w in weights["w"]])) * y
            torch.testing.assert_close(outputs, expected)
            assert nothing == {"nothing": None}
    assert seen == sum(8 + 5 * (call <= AS_IT_IS) for call in range(1, AS_IT_IS + 10))
    assert called.count(8) == AS_IT_IS + 3  # once more to trace it, and twice to compare
    assert called.count(5) == AS_IT_IS


def test_what_depends_on_numbers_is_run_as_it_is(caplog):
    program = Program(lambda weights, buffers, x, y: x * (2 if float(y.sum()) > 0 else 3))
    ones = torch.ones(2)
    for call in range(AS_IT_IS + 5):
        y = ones if call % 2 else -ones
        assert torch.equal(program({"w": ones}, {}, ones, y), ones * (2 if call % 2 else 3))
    assert [r.message.partition(":")[0] for r in caplog.records if "traced" in r.message] == [
        "not traced"
    ]


def test_a_trace_with_other_numbers_is_not_used(caplog):
    calls = []

    def function(weights, buffers, x, y):
        calls.append(1)
        return x * len(calls)  # a number that tracing freezes

    program, ones = Program(function), torch.ones(2)
    for call in range(1, AS_IT_IS + 1):
        assert torch.equal(program({"w": ones}, {}, ones, ones), ones * call)
    seen = program({"w": ones}, {}, ones, ones)
    assert torch.equal(seen, ones * len(calls)) and len(calls) == AS_IT_IS + 3
    assert "other numbers" in caplog.text


SMALL = ["data=mnist5k", "data.n_train=1000", "data.n_val=500", "train.batch_size=100"]


def trained(name, way, compile):
    """Train two rates and two seeds for some steps in double precision; return the population."""
    config = read_config([f"model={name}", *SMALL, f"train.compile={compile}"])
    data = load_data(config.data).to(DEVICE, torch.float64)
    rates = [{"dropout": rate} for rate in (0.1, 0.5)]
    settings = candidates_of(config, rates, data).settings
    members = Population(settings, (0, 1), config.train, DEVICE, torch.float64, way)
    for epoch in range(3):
        members.train_epoch(data.train, epoch)
    return members


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_a_compiled_step_trains_as_the_plain_model(name):
    fused, plain = trained(name, FUSED, compile=True), trained(name, Way("plain"), compile=True)
    assert fused.engine.compiled and not plain.engine.compiled
    for k in range(plain.n_members):
        mine = dict(fused.engine.member(k).named_parameters())
        for parameter, weight in plain.engine.member(k).named_parameters():
            torch.testing.assert_close(mine[parameter], weight, rtol=1e-6, atol=1e-9)


def no_compiler(*args, **options):
    raise RuntimeError("no C++ compiler is found\n and more")


def other_numbers(operations, **options):
    return lambda *args: (lambda loss, gradients: (loss * 1.1, gradients))(*operations(*args))


@pytest.mark.parametrize(
    ("compiler", "why"),
    [(no_compiler, "RuntimeError: no C++"), (other_numbers, "Differs: the loss would differ by")],
)
def test_what_cannot_be_compiled_runs_as_it_is_traced(monkeypatch, caplog, compiler, why):
    expected = trained("mlp", FUSED, compile=False)
    monkeypatch.setattr(torch, "compile", compiler)
    found = trained("mlp", FUSED, compile=True)
    assert not found.engine.compiled and f"not compiled: {why}" in caplog.text
    for name, weight in expected.engine.params.items():
        assert torch.equal(found.engine.params[name], weight)
