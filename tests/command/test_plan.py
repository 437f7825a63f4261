"""From overrides to studies, without training anything."""

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from sweep.command.plan import read_plans
from sweep.errors import BadInput
from sweep.places import CONF, PRIMARY

DEFAULT = ["dropout=interval(0, 0.8)"]


def plan(*overrides):
    """Return the studies that a command line makes."""
    with initialize_config_dir(str(CONF), version_base="1.3", job_name="run"):
        loader = GlobalHydra.instance().config_loader()
        base = loader.load_configuration(PRIMARY, list(overrides), run_mode=RunMode.MULTIRUN)
        return read_plans(loader, base, DEFAULT, list(overrides))


def spaces(*overrides):
    return [{axis.key: str(axis) for axis in study.axes} for study in plan(*overrides)]


def test_default():
    (study,) = plan()
    assert {axis.key: str(axis) for axis in study.axes} == {"dropout": "[0, 0.8]"}
    assert (study.sampler, study.n_trials, study.generation_size) == ("zoom", 14, 9)
    assert study.config.study.seeds == 2 and study.config.train.epochs == 10


def test_the_default_search_stays_unless_dropout_is_given():
    lr = "train.lr=tag(log,interval(1e-4,1e-2))"
    assert spaces(lr) == [{"dropout": "[0, 0.8]", "train.lr": "[0.0001, 0.01] (log)"}]
    assert spaces("dropout=0.3") == [{"dropout": "0.3"}]


def test_all_lists_are_every_combination_once_in_one_generation():
    (study,) = plan("dropout=range(0,0.9,0.1)", "train.lr=1e-3,1e-2")
    assert (study.sampler, study.n_trials, study.generation_size) == ("grid", 18, 18)
    assert study.combinations[-1] == {"dropout": 0.8, "train.lr": 0.01}


def test_several_searched_numbers_need_another_sampler():
    assert plan("model.width=64,128")[0].sampler == "tpe"
    assert plan("model.width=64,128", "sampler=gp")[0].sampler == "gp"
    with pytest.raises(BadInput, match="sampler=zoom: searches only dropout"):
        plan("model.width=64,128", "sampler=zoom")


@pytest.mark.parametrize(
    ("overrides", "n"),
    [
        (["data=mnist,mnist5k"], 2),
        (["train.epochs=5,10", "train.batch_size=32,64"], 4),
        (["data.n_train=100,200,300"], 3),
        (["model.width=64,128", "study.each=[model.width]"], 2),
    ],
)
def test_one_study_each(overrides, n):
    assert spaces(*overrides) == [{"dropout": "[0, 0.8]"}] * n


def test_values_of_the_studies_arrive():
    assert [study.config.data["n_train"] for study in plan("data.n_train=100,200")] == [100, 200]
    two = plan("model.width=64,128", "study.each=[model.width]")
    assert [study.config.model["width"] for study in two] == [64, 128]


def test_fallback_keeps_what_the_other_data_know():
    (study,) = plan("data.root=/x", "data.n_val=500", "data.n_train=100")
    config = study.with_data("mnist5k").config
    assert config.data["_target_"] == "sweep.workload.digits.mnist5k"
    assert (config.data["n_val"], config.data["n_train"]) == (500, 100)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["model.wdith=64,128"], "did you mean model.width?"),
        (["droput=0.1,0.2"], "did you mean dropout?"),
        (["study.seeds=2,3"], "study.seeds cannot be swept"),
        (["train.lrr=1,2"], "did you mean train.lr?"),
        (["nogroup=mlp,cnn"], "there is no nogroup among dropout"),
        (["data=interval(0,1)"], "must be a list"),
        (["dropout=0.1,0.2", "study.n_trials=5"], "the lists make 2 trials"),
        (["data.n_train=100,200", "study.name=mine"], "names one study"),
    ],
)
def test_mistakes_are_told_before_anything_runs(overrides, complaint):
    with pytest.raises(BadInput) as caught:
        plan(*overrides)
    assert complaint in str(caught.value)
