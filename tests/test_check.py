"""python -m sweep.check: it says how a model is trained, and finds differences."""

import pytest

from sweep import check
from sweep.engine.layers import _Linear
from sweep.engine.vmapped import _Together
from sweep.errors import BadInput
from tests.conftest import DEVICE

TINY = ["data=mnist5k", "data.n_train=390", "train.batch_size=20", "study.generation=2"]
TINY += ["study.seeds=1", f"train.device={DEVICE}", "data.n_val=100"]
TOGETHER, ALONE = "members train as one program", "members train one by one"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (["model.width=8"], TOGETHER),
        (["model=cnn"], ALONE if DEVICE.type == "cpu" else TOGETHER),
        pytest.param(["model=rnn", "model.width=8"], TOGETHER, marks=pytest.mark.slow),
        pytest.param(["model.width=8", "train.precision=bf16"], TOGETHER, marks=pytest.mark.slow),
    ],
)
def test_it_tells_the_way_the_speeds_and_the_time_of_a_study(capsys, model, expected):
    assert check.check_model([*TINY, *model]) == 0
    told = capsys.readouterr().out
    assert told.startswith(expected)
    assert "by a plain loop" in told and "the search of a study, " in told


def test_a_wrong_product_is_found(monkeypatch, capsys):
    real = _Linear.vmap

    def rough(info, dims, x, weight, bias):
        y, dim = real(info, dims, x, weight, bias)
        return y * (1 + 1e-7), dim

    monkeypatch.setattr(_Linear, "vmap", staticmethod(rough))
    assert check.check_model([*TINY, "model.width=8"]) == 0
    assert f"{ALONE} on {DEVICE}: the loss would differ by" in capsys.readouterr().out


def test_noise_of_another_seed_is_found(monkeypatch, capsys):
    real = _Together._numbers
    monkeypatch.setattr(_Together, "_numbers", lambda *args: real(*args).flip(0))
    assert check.check_model([*TINY, "model.width=8"]) == 0
    assert f"{ALONE} on {DEVICE}: the loss would differ by" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("dropout=0.1,0.2", "dropout=0.1,0.2: sweep.check searches nothing"),
        ("model._target_=torch.nn.Identity", "model._target_=torch.nn.Identity"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(override, complaint):
    with pytest.raises(BadInput, match=complaint):
        check.check_model([*TINY, override])
