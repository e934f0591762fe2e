"""The same nets as one writes them in torch; parameters are registered in the order of Caffe's layers."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.twins.definitions import INCEPTION

Losses = tuple[tuple[float, torch.Tensor], ...]


def single(value: float) -> float:
    """Fields of prototxt are float32: 0.3 there is 0.30000001, which float64 tells from 0.3."""
    return float(np.float32(value))


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.ip1, self.ip2 = nn.Linear(800, 500), nn.Linear(500, 10)

    def forward(self, x, label) -> Losses:
        x = F.max_pool2d(self.conv2(F.max_pool2d(self.conv1(x), 2)), 2)
        return ((1, F.cross_entropy(self.ip2(F.relu(self.ip1(x.flatten(1)))), label)),)


def _norm(x):
    return F.local_response_norm(x, 5, alpha=single(1e-4), beta=0.75, k=1.0)


class Inception(nn.Module):
    def __init__(self, channels: int, block: str):
        super().__init__()
        one, reduce3, three, reduce5, five, pooled = INCEPTION[block]
        self.one = nn.Conv2d(channels, one, 1)
        self.reduce3, self.three = nn.Conv2d(channels, reduce3, 1), nn.Conv2d(reduce3, three, 3, padding=1)
        self.reduce5, self.five = nn.Conv2d(channels, reduce5, 1), nn.Conv2d(reduce5, five, 5, padding=2)
        self.pooled = nn.Conv2d(channels, pooled, 1)
        self.channels = one + three + five + pooled

    def forward(self, x):
        three = self.three(F.relu(self.reduce3(x)))
        five = self.five(F.relu(self.reduce5(x)))
        return F.relu(torch.cat([self.one(x), three, five, self.pooled(F.max_pool2d(x, 3, 1, padding=1))], 1))


class SideLoss(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv, self.fc, self.classifier = nn.Conv2d(channels, 128, 1), nn.Linear(2048, 1024), nn.Linear(1024, 1000)

    def forward(self, x, label):
        x = F.relu(self.conv(F.avg_pool2d(x, 5, 3)))
        return F.cross_entropy(self.classifier(F.dropout(F.relu(self.fc(x.flatten(1))), single(0.7))), label)


class GoogLeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.reduce2 = nn.Conv2d(3, 64, 7, stride=2, padding=3), nn.Conv2d(64, 64, 1)
        self.conv2 = nn.Conv2d(64, 192, 3, padding=1)
        channels = 192
        for block in INCEPTION:
            setattr(self, f"block{block}", made := Inception(channels, block))
            channels = made.channels
            if block in ("4a", "4d"):
                setattr(self, f"side{block}", SideLoss(channels))
        self.classifier = nn.Linear(1024, 1000)

    def forward(self, x, label) -> Losses:
        x = _norm(F.max_pool2d(F.relu(self.conv1(x)), 3, 2, ceil_mode=True))
        x = F.max_pool2d(_norm(F.relu(self.conv2(F.relu(self.reduce2(x))))), 3, 2, ceil_mode=True)
        x = self.block4a(F.max_pool2d(self.block3b(self.block3a(x)), 3, 2, ceil_mode=True))
        first = self.side4a(x, label)
        x = self.block4d(self.block4c(self.block4b(x)))
        second = self.side4d(x, label)
        x = self.block5b(self.block5a(F.max_pool2d(self.block4e(x), 3, 2, ceil_mode=True)))
        x = F.dropout(F.avg_pool2d(x, 7, 1), single(0.4)).flatten(1)
        return ((single(0.3), first), (single(0.3), second), (1, F.cross_entropy(self.classifier(x), label)))
