"""The common parts of rows of the table: their registry, and the layers that they work on."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from caffe_compat.layers.batch_norm import BatchNormModule


@dataclass(frozen=True)
class Row:
    """A way to use a net: a function of net and batch that returns what is compared.

    Attributes
    ----------
    writes : the result must differ from that of an untouched net.
    raises : an error is what is compared.
    nets : where the idiom means something.
    """

    name: str
    run: Callable
    writes: bool
    raises: bool
    nets: tuple[str, ...]
    slow: bool


EVERY = ("CNN+D", "SR-FCN", "xception", "mixed")


class Table(list):
    """Rows, entered by a decorator under their functions' names."""

    def row(self, *, writes=False, raises=False, nets=EVERY, slow=False, name=None):
        def enter(function):
            self.append(Row(name or function.__name__, function, writes, raises, nets, slow))
            return function

        return enter


def conv(net):
    """Return a convolution in the middle."""
    every = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    return every[len(every) // 2]


def key(net):
    """Return its name."""
    return next(name for name, module in net.named_modules() if module is conv(net))


def tensors(net):
    """Return all weights and statistics."""
    return [*net.parameters(), *net.buffers()]


def pool(net):
    return next(module for module in net.modules() if isinstance(module, nn.MaxPool2d))


def norm(net):
    return next(module for module in net.modules() if isinstance(module, BatchNormModule))


def linear(net):
    return next(module for module in net.modules() if isinstance(module, nn.Linear))


def passed(net, x):
    """Run a pass for inference, so that programs are there when the idiom begins."""
    with torch.no_grad():
        return net(x)


class Adapter(nn.Module):
    """A wrapped layer with a term of low rank, as LoRA's."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.gain = layer, nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.layer(x) * (1 + self.gain)


class Halved(nn.Module):
    """A parametrization."""

    def forward(self, weight):
        return weight / 2
