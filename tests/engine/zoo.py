"""Networks as people write them, around those of torch, torchvision and transformers.

Each takes one config with dropout, n_classes and input_shape; words come as numbers of float32.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import dropout
from torchvision.models.densenet import DenseNet
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

WORDS, LENGTH, WIDTH = 12, 10, 16  # word 0 is padding
transformers.logging.set_verbosity_error()


class Encoder(nn.Module):
    """torch's own encoder of sequences of unequal length."""

    def __init__(self, config):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, config.dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, config.n_classes)

    def forward(self, x):
        words = x.long()
        h = self.encoder(self.embed(words), src_key_padding_mask=words == 0)
        return self.head(h[:, 0])


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 4, config.dropout, batch_first=True)
        self.head = nn.Linear(WIDTH, config.n_classes)

    def forward(self, x):
        h = self.embed(x.long())
        h = h + self.attention(h, h, h, need_weights=False)[0]
        return self.head(h.mean(1))


class Recurrent(nn.Module):
    kind: type[nn.RNNBase]

    def __init__(self, config):
        super().__init__()
        self.rnn = self.kind(28, WIDTH, 2, dropout=config.dropout, batch_first=True)
        self.head = nn.Linear(WIDTH, config.n_classes)

    def forward(self, x):
        return self.head(self.rnn(x.squeeze(1))[0][:, -1])


class LSTM(Recurrent):
    kind = nn.LSTM


class GRU(Recurrent):
    kind = nn.GRU


class MnistBefore(nn.Module):
    """PyTorch's example of MNIST until 2019."""

    def __init__(self, config):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, kernel_size=5)
        self.conv2 = nn.Conv2d(4, 8, kernel_size=5)
        self.conv2_drop = nn.Dropout2d(config.dropout)
        self.fc1 = nn.Linear(128, 20)
        self.fc2 = nn.Linear(20, config.n_classes)
        self.rate = config.dropout

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 128)
        x = F.relu(self.fc1(x))
        x = F.dropout(x, self.rate, training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)


class MnistNow(nn.Module):
    """PyTorch's example of MNIST today."""

    def __init__(self, config):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, 1)
        self.conv2 = nn.Conv2d(4, 8, 3, 1)
        self.dropout1 = nn.Dropout(config.dropout / 2)
        self.dropout2 = nn.Dropout(config.dropout)
        self.fc1 = nn.Linear(1152, 20)
        self.fc2 = nn.Linear(20, config.n_classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)


class Functional(nn.Module):
    """A network whose dropout is no module at all."""

    def __init__(self, config):
        super().__init__()
        self.p = config.dropout
        self.fc1 = nn.Linear(784, 24)
        self.fc2 = nn.Linear(24, config.n_classes)

    def forward(self, x):
        x = dropout(x.flatten(1), 0.2, self.training)
        return self.fc2(dropout(F.relu(self.fc1(x)), p=self.p, training=self.training))


class SelfNormalising(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 7, 7)
        self.fc = nn.Linear(64, 24)
        self.head = nn.Linear(24, config.n_classes)
        self.channels = nn.FeatureAlphaDropout(config.dropout)
        self.units = nn.AlphaDropout(config.dropout)

    def forward(self, x):
        x = self.channels(F.selu(self.conv(x)))
        return self.head(self.units(F.selu(self.fc(x.flatten(1)))))


class Vision(nn.Module):
    """A network of torchvision, which sees colours."""

    def __init__(self, config):
        super().__init__()
        self.net = self.build(config.dropout, config.n_classes)

    def forward(self, x):
        return self.net(x.expand(-1, 3, -1, -1))


class VisionOfTorch(Vision):
    def build(self, p, n):
        rates = {"dropout": p, "attention_dropout": p}
        return VisionTransformer(28, 7, 2, 2, WIDTH, 32, num_classes=n, **rates)


class Swin(Vision):
    def build(self, p, n):
        rates = {"dropout": p, "attention_dropout": p, "stochastic_depth_prob": p}
        return SwinTransformer([4, 4], 8, [1, 2], [2, 2], [4, 4], num_classes=n, **rates)


class SwinWithoutDepth(Vision):
    def build(self, p, n):
        rates = {"dropout": p, "attention_dropout": p, "stochastic_depth_prob": 0.0}
        return SwinTransformer([4, 4], 8, [1, 2], [2, 2], [4, 4], num_classes=n, **rates)


class Dense(Vision):
    def build(self, p, n):
        return DenseNet(4, (2, 2), 8, bn_size=2, drop_rate=p, num_classes=n)


class Efficient(Vision):
    def build(self, p, n):
        blocks = [
            MBConvConfig(1, 3, 1, 8, 8, 1, 1.0, 1.0),
            MBConvConfig(4, 3, 2, 8, 12, 2, 1.0, 1.0),
        ]
        return EfficientNet(blocks, dropout=p, stochastic_depth_prob=p, num_classes=n)


SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": WIDTH}


class Bert(nn.Module):
    how = "sdpa"

    def __init__(self, config):
        super().__init__()
        p, sizes = config.dropout, {**SIZES, "vocab_size": WORDS, "intermediate_size": 32}
        rates = {"hidden_dropout_prob": p, "attention_probs_dropout_prob": p}
        bert = transformers.BertConfig(
            **sizes, **rates, num_labels=config.n_classes, attn_implementation=self.how
        )
        self.bert = transformers.BertForSequenceClassification(bert)

    def forward(self, x):
        words = x.long()
        return self.bert(words, attention_mask=(words != 0).long()).logits


class BertEager(Bert):
    how = "eager"


class BertOfWhole(Bert):
    """The same of sequences that have no padding, or count it as a word."""

    def forward(self, x):
        return self.bert(x.long()).logits


def gpt2(config):
    rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config.dropout)
    sizes = {"vocab_size": WORDS, "n_positions": LENGTH, "n_embd": WIDTH, "n_layer": 2, "n_head": 2}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return transformers.GPT2Config(**sizes, **rates, **ends, use_cache=False)


class Gpt2(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gpt2 = transformers.GPT2Model(gpt2(config))
        self.head = nn.Linear(WIDTH, config.n_classes)

    def forward(self, x):
        return self.head(self.gpt2(x.long()).last_hidden_state[:, -1])


class Gpt2Tied(nn.Module):
    """The next word, by a head whose weights are those of the embedding."""

    def __init__(self, config):
        super().__init__()
        self.gpt2 = transformers.GPT2LMHeadModel(gpt2(config))
        self.n_classes = config.n_classes

    def forward(self, x):
        return self.gpt2(x.long()).logits[:, -1, : self.n_classes]


class VisionOfTransformers(nn.Module):
    def __init__(self, config):
        super().__init__()
        p, sizes = config.dropout, {**SIZES, "intermediate_size": 32}
        rates = {"hidden_dropout_prob": p, "attention_probs_dropout_prob": p}
        image = {"image_size": 28, "patch_size": 7, "num_channels": 1}
        vit = transformers.ViTConfig(**sizes, **rates, **image, num_labels=config.n_classes)
        self.vit = transformers.ViTForImageClassification(vit)

    def forward(self, x):
        return self.vit(x).logits


OF_WORDS = (Encoder, Attention, Bert, BertEager, BertOfWhole, Gpt2, Gpt2Tied)
OF_IMAGES = (
    *(LSTM, GRU, MnistBefore, MnistNow, Functional, SelfNormalising),
    *(VisionOfTorch, Swin, SwinWithoutDepth, Dense, Efficient, VisionOfTransformers),
)
