"""Code of modules: what is copied, how constructors are written, and what is refused with its reason."""

import enum
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from caffe_compat.export.code import NotPortableError, Sources, call

HALF_TURN = math.pi
TURN = 2 * HALF_TURN


class Wave(enum.Enum):
    SINE = 1
    COSINE = 2


@dataclass(frozen=True)
class Shape:
    speed: float
    kind: Wave


def turned(x: torch.Tensor, turns: float) -> torch.Tensor:
    return x + turns * TURN


class Snake(nn.Module):
    def __init__(self, shape: Shape, name: str = "a", *, turns: float = 0.0) -> None:
        super().__init__()
        self.shape, self.name, self.turns = shape, name, turns

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        turned_x = turned(x * self.shape.speed, self.turns)
        return turned_x.sin() if self.shape.kind is Wave.SINE else turned_x.cos()


class Forgetful(nn.Module):
    def __init__(self, speed: float) -> None:
        super().__init__()
        self.pace = speed


class ByNumpy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.sin(x.numpy()))


class OnNumpy(ByNumpy):
    pass


def written(module: nn.Module) -> tuple[str, Sources]:
    sources = Sources()
    name, parts = sources.constructor(module)
    return f"{name}({', '.join(parts)})", sources


def test_a_class_comes_with_what_it_names_in_order():
    text, sources = written(Snake(Shape(0.5, Wave.COSINE), turns=math.inf))
    assert text == 'Snake(Shape(speed=0.5, kind=Wave.COSINE), turns=float("inf"))'
    assert list(sources.definitions) == ["Wave", "Shape", "HALF_TURN", "TURN", "turned", "Snake"]
    assert sources.definitions["TURN"] == "TURN = 2 * HALF_TURN"
    assert {
        "import enum",
        "import math",
        "from dataclasses import dataclass",
        "from torch import nn",
    } <= sources.imports


def test_the_code_computes_what_the_module_does():
    module = Snake(Shape(0.5, Wave.SINE), turns=1.0)
    text, sources = written(module)
    scope = {"__name__": "builtins"}  # a module that exists, for dataclass
    exec("\n".join([*sources.imports, *sources.definitions.values(), f"module = {text}"]), scope)
    x = torch.randn(5)
    assert torch.equal(scope["module"](x), module(x))


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Conv2d(3, 4, (5, 5), stride=(2, 1), padding=(2, 2), bias=False), "nn.Conv2d(3, 4, 5, stride=(2, 1), padding=2, bias=False)"),
        (nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=4), "nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1, groups=4)"),
        (nn.MaxPool2d(3, 2, ceil_mode=True), "nn.MaxPool2d(3, stride=2, ceil_mode=True)"),
        (nn.LocalResponseNorm(5, 0.001, 0.75, 2.0), "nn.LocalResponseNorm(5, alpha=0.001, k=2.0)"),
        (nn.Softmax(1), "nn.Softmax(dim=1)"),
        (nn.Sigmoid(), "nn.Sigmoid()"),
    ],
)  # fmt: skip
def test_torchs_modules_are_written_as_people_do(module, expected):
    assert written(module)[0] == expected


def changed() -> Snake:
    module = Snake(Shape(1.0, Wave.SINE))
    module.offset = 3
    return module


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Forgetful(1.0), "does not keep its argument speed"),
        (ByNumpy(), "needs numpy"),
        (OnNumpy(), "needs numpy"),
        (changed(), "was changed"),
        (type("Made", (nn.ReLU,), {})(), "has no source"),
        (Snake(torch.zeros(2)), "changed|again|cannot be written"),
    ],
)
def test_what_cannot_be_written_says_why(module, reason):
    with pytest.raises(NotPortableError, match=reason):
        written(module)


def test_a_reason_is_the_same_the_second_time():
    sources = Sources()
    for _ in range(2):
        with pytest.raises(NotPortableError, match="needs numpy"):
            sources.constructor(OnNumpy())


def test_long_calls_are_broken_as_ruff_does():
    names = [f"a_rather_long_blob_name_{i}" for i in range(4)]
    assert list(call("x = self.join", names, 8)) == [
        "        x = self.join(",
        f"            {', '.join(names)}",
        "        )",
    ]
    assert list(call("x = self.join", names * 2, 8))[1] == f"            {names[0]},"
    assert list(call("return ", ['"a": a'], 8, brackets="{}")) == ['        return {"a": a}']
