"""python -m sweep.check: it finds a difference where there is one."""

import pytest

from sweep import check
from sweep.config import BadInput
from sweep.dropout import RateDropout
from sweep.lowering import _Linear
from tests.conftest import DEVICE

TINY = ["data=mnist5k", "data.n_train=400", "train.batch_size=20", "study.generation=2"]
TINY += ["study.seeds=1", f"train.device={DEVICE}"]


@pytest.mark.parametrize(
    "model",
    [["model.width=8"], ["model=cnn"], ["model=rnn", "model.width=8"], ["model.width=8", "bf16"]],
)
def test_members_are_together_what_they_are_alone(capsys, model):
    overrides = [o.replace("bf16", "train.precision=bf16") for o in model]
    assert check.check([*TINY, *overrides]) == 0
    assert "the same" in capsys.readouterr().out


def test_a_wrong_product_is_found(monkeypatch, capsys):
    real = _Linear.vmap

    def rough(info, dims, x, weight, bias):
        y, dim = real(info, dims, x, weight, bias)
        return y * (1 + 1e-7), dim

    monkeypatch.setattr(_Linear, "vmap", staticmethod(rough))
    assert check.check([*TINY, "model.width=8"]) == 1
    assert "DIFFER" in capsys.readouterr().out


def test_noise_of_another_seed_is_found(monkeypatch):
    real = RateDropout._noise

    def noise(self, call, shape):
        drawn = real(self, call, shape)
        return drawn.flip(0) if self.row is None else drawn

    monkeypatch.setattr(RateDropout, "_noise", noise)
    assert check.check([*TINY, "model.width=8"]) == 1


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("dropout=0.1,0.2", "dropout=0.1,0.2: nothing is searched here"),
        ("model._target_=torch.nn.Identity", "model._target_=torch.nn.Identity"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(override, complaint):
    with pytest.raises(BadInput, match=complaint):
        check.check([*TINY, override])
