"""Optuna with a DataLoader, in the shape of Optuna's own PyTorch example.

python -m scripts.bench.optuna_loader small [train.device=cuda]
"""

import tempfile

import numpy as np
import optuna
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from torchvision.transforms import ToTensor

from scripts.bench.workload import chosen, chosen_device, digits, network, timed, warm_up
from sweep.workload.data import Split


class Digits(Dataset[tuple[Tensor, int]]):
    """Images one by one through PIL, as torchvision's MNIST gives them."""

    def __init__(self, split: Split) -> None:
        self.images, self.labels = split.inputs.view(-1, 28, 28).numpy(), split.targets.tolist()
        self.transform = ToTensor()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[row])), self.labels[row]


def main() -> None:
    work, device = chosen(), chosen_device()
    data = digits(work)
    train, part, val = (Digits(split) for split in (data.train, data.train_part, data.val))
    warm_up()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = tempfile.TemporaryDirectory()

    def evaluate(model: torch.nn.Module, data: Digits) -> tuple[float, float]:
        model.eval()
        loss, wrong = 0.0, 0
        with torch.no_grad():
            for x, y in DataLoader(data, batch_size=128):
                x, y = x.to(device), y.to(device)
                out = model(x)
                loss += F.cross_entropy(out, y, reduction="sum").item()
                wrong += int((out.argmax(1) != y).sum().item())
        return loss / len(data), wrong / len(data)

    def objective(trial: optuna.Trial) -> float:
        model = network(work, trial.suggest_float("dropout", 0, 0.8)).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        writer = SummaryWriter(f"{folder.name}/{trial.number}")
        for epoch in range(work.epochs):
            model.train()
            for x, y in DataLoader(train, batch_size=128, shuffle=True):
                optimizer.zero_grad()
                x, y = x.to(device), y.to(device)
                F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            for name, split in (("val", val), ("train", part)):
                loss, error = evaluate(model, split)
                writer.add_scalar(f"loss/{name}", loss, epoch)
                writer.add_scalar(f"error/{name}", error, epoch)
                values.append(loss)
        return values[-2]

    values: list[float] = []
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    with folder, timed(work.trials * work.epochs) as result:
        study.optimize(objective, n_trials=work.trials)
        result["val_loss"] = float(np.mean([trial.value for trial in study.trials]))


if __name__ == "__main__":
    main()
