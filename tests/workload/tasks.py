"""Data and models of other kinds than classes of images, as people have them."""

import numpy as np
import torch
from sklearn import datasets
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset


def parts(inputs, targets, split):
    """Return one of three parts, always the same."""
    order = np.random.default_rng(0).permutation(len(targets))
    a, b = int(0.6 * len(order)), int(0.8 * len(order))
    rows = {"train": order[:a], "val": order[a:b], "test": order[b:]}[split]
    if isinstance(inputs, dict):
        return {name: part[rows] for name, part in inputs.items()}, targets[rows]
    return inputs[rows], targets[rows]


def standardised(x):
    return (x - x.mean(0)) / x.std(0)


def diabetes(config, split):
    x, y = datasets.load_diabetes(return_X_y=True)
    return parts(standardised(x), standardised(y), split)


def cancer(config, split):
    """Labels 0 and 1 as floats, or as class numbers."""
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = standardised(x).astype("float32")
    return parts(x, y.astype("int32") if config.integers else y.astype("float32"), split)


class Pairs(Dataset):
    def __init__(self, inputs, targets):
        self.inputs, self.targets = inputs, targets

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        return self.inputs[i], self.targets[i]


def labels(config, split):
    """Several labels a sample, as a torch Dataset."""
    x, y = datasets.make_multilabel_classification(300, 20, n_classes=5, random_state=0)
    return Pairs(*parts(torch.tensor(x).float() / 10, torch.tensor(y).bool(), split))


def shapes(config, split):
    """Squares of two kinds in noise: the class of each pixel, but of none in the first row."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 0.5, (60, 1, 12, 12)).astype("float32"), np.zeros((60, 12, 12), int)
    for picture, classes in zip(x, y, strict=True):
        a, b, kind = *rng.integers(1, 7, 2), rng.integers(1, 3)
        classes[a : a + 5, b : b + 5] = kind
        picture[0, a : a + 5, b : b + 5] += kind
    y[:, 0] = -100
    return parts(x, torch.from_numpy(y), split)


def tokens(config, split):
    """Sentences of different lengths with a mask: is the mean token high?"""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 30, (150, 12), generator=generator)
    lengths = torch.randint(4, 13, (150, 1), generator=generator)
    mask = (torch.arange(12) < lengths).long()
    targets = ((ids * mask).sum(1) / mask.sum(1) > 15).long()
    return parts({"input_ids": ids * mask, "attention_mask": mask}, targets, split)


class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        n_inputs = config.input_shape[0]
        self.hidden, self.drop = nn.Linear(n_inputs, 32), nn.Dropout(config.dropout)
        self.head = nn.Linear(32, config.n_classes)

    def forward(self, x):
        return self.head(self.drop(self.hidden(x).relu()))


class Flat(Net):
    """One number a sample, without an axis for it."""

    def forward(self, x):
        return super().forward(x)[:, 0]


class Segmenter(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.first, self.drop = nn.Conv2d(1, 8, 3, padding=1), nn.Dropout2d(config.dropout)
        self.last = nn.Conv2d(8, config.n_classes, 3, padding=1)

    def forward(self, x):
        return self.last(self.drop(self.first(x).relu()))


class Bert(nn.Module):
    def __init__(self, config):
        from transformers import BertConfig, BertForSequenceClassification

        super().__init__()
        sizes = {"vocab_size": 30, "hidden_size": 32, "intermediate_size": 64}
        heads = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": config.n_classes}
        rates = {
            "hidden_dropout_prob": config.dropout,
            "attention_probs_dropout_prob": config.dropout,
        }
        self.net = BertForSequenceClassification(BertConfig(**sizes, **heads, **rates))

    def forward(self, input_ids, attention_mask):
        return self.net(input_ids, attention_mask=attention_mask)


def focal(outputs, targets):
    loss = F.cross_entropy(outputs, targets, reduction="none")
    return (1 - torch.exp(-loss)) ** 2 * loss


def noisy(x):
    return x + 0.1 * torch.randn_like(x)
