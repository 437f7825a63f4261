"""Networks as people write them, of torch's own layers, to be timed beside those of models/."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class Example(nn.Module):
    """PyTorch's MNIST example."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.dropout1, self.dropout2 = nn.Dropout(config.dropout / 2), nn.Dropout(config.dropout)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, config.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        x = F.relu(self.fc1(self.dropout1(x).flatten(1)))
        return self.fc2(self.dropout2(x))


class Lstm(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.lstm = nn.LSTM(28, 64, 2, dropout=config.dropout, batch_first=True)
        self.head = nn.Linear(64, config.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.squeeze(1))[0][:, -1])


class Encoder(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(56, 4, 128, config.dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(56, config.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x.view(-1, 14, 56)).mean(1))


class Narrow(nn.Module):
    """So little arithmetic that calls are all it costs."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.fc, self.head = nn.Linear(784, 16), nn.Linear(16, config.n_classes)
        self.rate = config.dropout

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(self.fc(x.flatten(1)).relu(), self.rate, self.training))
