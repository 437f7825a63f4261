"""Optuna with a DataLoader, in the shape of Optuna's own PyTorch example.

python -m scripts.bench.optuna_loader small [train.device=cuda]
"""

from collections.abc import Iterator
from tempfile import TemporaryDirectory

import optuna
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from torchvision.transforms import ToTensor

from scripts.bench.timing import timed
from scripts.bench.workload import chosen, digits, evaluate, network, warm_up
from sweep.workload.split import Split


class Digits(Dataset[tuple[Tensor, int]]):
    """Images one by one through PIL, as torchvision's MNIST gives them."""

    def __init__(self, split: Split) -> None:
        assert isinstance(split.inputs, Tensor)
        self.images, self.labels = split.inputs.view(-1, 28, 28).numpy(), split.targets.tolist()
        self.transform = ToTensor()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[row])), self.labels[row]


def main() -> None:
    work, device = chosen()
    data = digits(work)
    train, part, val = (Digits(split) for split in (data.train, data.train_part, data.val))
    warm_up()
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def batches(samples: Digits, shuffle: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in DataLoader(samples, batch_size=128, shuffle=shuffle):
            yield x.to(device), y.to(device)

    def objective(trial: optuna.Trial) -> float:
        model = network(work, trial.suggest_float("dropout", 0, 0.8)).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        writer = SummaryWriter(f"{folder}/{trial.number}")
        for epoch in range(work.epochs):
            model.train()
            for x, y in batches(train, shuffle=True):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            loss = evaluate(model, {"train": batches(part), "val": batches(val)}, writer, epoch)
        return loss

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    with TemporaryDirectory() as folder, timed(work.trials * work.epochs) as losses:
        study.optimize(objective, n_trials=work.trials)
        losses += [float(trial.value or 0) for trial in study.trials]


if __name__ == "__main__":
    main()
