"""A traced function against itself as it is."""

import torch

from sweep.engine.traced import AS_IT_IS, Program


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
