"""Real tasks of other kinds, each as a command; without dropout it is a plain PyTorch loop."""

import json
import math
import random
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from models.gpt import GPT, GPTConfig
from sweep.engine.noise import order_and_keys
from sweep.workload.text import text
from tests.conftest import load_study
from tests.workload import tasks

BATCH, EPOCHS, LR = 16, 2, 0.01
COMMAND = ["dropout=0.0,0.5", f"train.batch_size={BATCH}", f"train.lr={LR}"]


def ours(sweep, tmp_path, model, data, *overrides, **numbers):
    """Run a study of a model and a data set in this file's folder; return its folder."""
    for group, name, more in (("model", model, {}), ("data", data, numbers)):
        file = tmp_path / "conf" / group / f"{name.lower()}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = {"_target_": f"tests.workload.tasks.{name}", **more}
        file.write_text(json.dumps({"augment": None, **lines} if group == "data" else lines))
    return sweep(*COMMAND, f"model={model.lower()}", f"data={data.lower()}", *overrides)


def on_tensors(function, inputs):
    if isinstance(inputs, dict):
        return {name: function(tensor) for name, tensor in inputs.items()}
    return function(inputs)


def as_tensor(x):
    x = torch.as_tensor(x)
    return x.float() if x.is_floating_point() else x


def a_plain_loop(model, read, n_outputs, loss, seed):
    """Return the outputs on and the targets of the validation split after training."""
    (x, y), (x_val, y_val) = (read(split) for split in ("train", "val"))
    x, y, x_val, y_val = (on_tensors(as_tensor, part) for part in (x, y, x_val, y_val))
    shape = on_tensors(lambda t: tuple(t.shape[1:]), x)
    torch.manual_seed(seed)
    net = model(SimpleNamespace(dropout=0.0, input_shape=shape, n_classes=n_outputs))
    call = (lambda x: net(**x).logits) if isinstance(x, dict) else net
    optimizer = torch.optim.AdamW(net.parameters(), LR, weight_decay=0.01)
    for epoch in range(EPOCHS):
        net.train()
        order, _ = order_and_keys(seed, epoch, len(y), BATCH)
        for rows in torch.split(order, BATCH):
            optimizer.zero_grad()
            loss(call(on_tensors(lambda t, rows=rows: t[rows], x)), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return call_in_evaluation(net, call, x_val), y_val


def call_in_evaluation(net, call, x):
    net.eval()
    return call(x)


def squared(outputs, y):
    return F.mse_loss(outputs.reshape(y.shape), y)


def binary(outputs, y):
    return F.binary_cross_entropy_with_logits(outputs.reshape(y.shape), y.float())


def classes(outputs, y):
    return F.cross_entropy(outputs, y.long())


def wrong(outputs, y):
    counted = y != -100
    return ((outputs.argmax(1) != y) & counted).sum() / counted.sum()


def wrong_labels(outputs, y):
    return ((outputs.reshape(y.shape) > 0) != y.bool()).float().mean()


def root(outputs, y):
    return squared(outputs, y).sqrt()


TASKS = {
    "regression": ("Net", "diabetes", {}, 1, squared, "rmse", root),
    "regression, flat": ("Flat", "diabetes", {}, 1, squared, "rmse", root),
    "binary": ("Net", "cancer", {"integers": False}, 1, binary, "wrong_labels", wrong_labels),
    "two classes": ("Net", "cancer", {"integers": True}, 2, classes, "error", wrong),
    "labels": ("Net", "labels", {}, 5, binary, "wrong_labels", wrong_labels),
    "pixels": ("Segmenter", "shapes", {}, 3, classes, "pixel_error", wrong),
    "masked tokens": ("Bert", "tokens", {}, 2, classes, "error", wrong),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_without_dropout_is_a_plain_loop(task, sweep, tmp_path):
    model, data, numbers, n_outputs, loss, name, metric = TASKS[task]

    def read(split):
        samples = getattr(tasks, data)(SimpleNamespace(**numbers), split)
        return (samples.inputs, samples.targets) if data == "labels" else samples

    folder = ours(sweep, tmp_path, model, data, **numbers)
    trained = load_study(folder).trials[0].user_attrs["trained"]
    for seed in (0, 1):
        outputs, y = a_plain_loop(getattr(tasks, model), read, n_outputs, loss, seed)
        assert trained["val_loss"][seed] == pytest.approx(loss(outputs, y).item(), rel=1e-4)
        expected = metric(outputs, y).item()
        assert trained[f"val_{name}"][seed] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    report = (folder / "report.md").read_text()
    assert f"val {name.replace('_', ' ')}" in report and math.isfinite(trained["gap"][0])


def test_own_loss_and_augmentation(sweep, tmp_path):
    own = "train.loss=tests.workload.tasks.focal"
    folder = ours(sweep, tmp_path, "Net", "cancer", own, integers=True)

    def read(split):
        return tasks.cancer(SimpleNamespace(integers=True), split)

    outputs, y = a_plain_loop(tasks.Net, read, 2, lambda o, y: tasks.focal(o, y.long()).mean(), 0)
    trained = load_study(folder).trials[0].user_attrs["trained"]
    expected = tasks.focal(outputs, y.long()).mean().item()
    assert trained["val_loss"][0] == pytest.approx(expected, rel=1e-4)
    augmented = ours(
        sweep, tmp_path, "Net", "cancer", own, "data.augment=tests.workload.tasks.noisy",
        integers=True,
    )  # fmt: skip
    other = load_study(augmented).trials[0].user_attrs["trained"]
    assert other["val_loss"] != trained["val_loss"]
    assert other["val_loss"] == pytest.approx(trained["val_loss"], rel=0.3)


def test_gpt_reads_a_text_like_a_plain_loop(sweep, tmp_path):
    book = tmp_path / "book.txt"
    book.write_text("".join(random.Random(0).choices("ab c\n", [4, 3, 2, 1, 1], k=4000)))
    sizes = {"depth": 1, "width": 16, "n_head": 2}
    numbers = {"path": str(book), "length": 10, "n_chars": None, "n_train": None, "n_val": None}
    folder = sweep(
        *COMMAND, "model=gpt", "data=text", *(f"model.{k}={v}" for k, v in sizes.items()),
        *(f"data.{k}={'null' if v is None else v}" for k, v in numbers.items()),
    )  # fmt: skip
    trained = load_study(folder).trials[0].user_attrs["trained"]

    def model(given):
        return GPT(GPTConfig(**vars(given), **sizes))

    def loss(outputs, y):
        return F.cross_entropy(outputs.flatten(0, 1), y.flatten())

    def read(split):
        return text(SimpleNamespace(**numbers), split)

    for seed in (0, 1):
        outputs, y = a_plain_loop(model, read, 6, loss, seed)
        assert trained["val_loss"][seed] == pytest.approx(loss(outputs, y).item(), rel=1e-4)
        expected = (outputs.argmax(-1) != y).float().mean().item()
        assert trained["val_token_error"][seed] == pytest.approx(expected, abs=1e-6)
    assert "val token error" in (folder / "report.md").read_text()
