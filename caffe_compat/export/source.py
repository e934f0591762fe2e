"""``python``: a module of source code that reads like the net and needs torch alone."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from torch import nn

from caffe_compat.build.executor import identifier, is_computed
from caffe_compat.build.net import CaffeNet
from caffe_compat.errors import CaffeCompatError, FileError, raise_together
from caffe_compat.export.code import NotPortableError, Sources, call
from caffe_compat.export.portable import (
    labels_of,
    plain_module,
    preprocess_key,
    preprocess_module,
    preprocessing_of_net,
    refusal,
    refuse_effects,
    require_inference,
)
from caffe_compat.export.tensors import packed, texts_of
from caffe_compat.formats.files import atomic_path
from caffe_compat.graph.graph import LayerNode

_LOAD = '''

def load(weights: str | Path = "") -> Net:
    """Return the net with the values of a file, by default the one next to this module; ready for inference."""
    from safetensors.torch import load_file

    net = Net()
    values = load_file(weights or Path(__file__).with_name({weights}))
{state}    return net.eval()
'''


def to_python(net: CaffeNet, file: str | os.PathLike[str], *, with_preprocessing: bool = False) -> None:
    """Write a Python module with the net as a class, and its values next to it: ``net.py`` and ``net.safetensors``.

    The values are those of :func:`caffe_compat.export.tensors.to_safetensors`. With the preprocessing ``forward`` takes
    images, (N, C, H, W) in RGB with values of 0 to 255.
    """
    path = Path(file)
    if path.suffix != ".py":
        raise FileError("the name must end in .py", code="wrong-format", file=path, value=path.suffix)
    require_inference(net)
    refuse_effects(net, "python")
    values = path.with_suffix(".safetensors")
    extra = {preprocess_key(net): preprocess_module(preprocessing_of_net(net))} if with_preprocessing else {}
    text = "\n".join(_Writer(net, extra).lines(values.name)) + "\n"
    state = {**net.state_dict(), **{f"{key}.mean": module.mean for key, module in extra.items()}}
    content = packed(state, texts_of(net))
    with atomic_path(values) as partial_values, atomic_path(path) as partial:
        partial_values.write_bytes(content)
        partial.write_text(text, encoding="utf-8")


_RENAME = """    parts = ((key.partition("."), value) for key, value in values.items())
    net.load_state_dict({f"{names.get(layer, layer)}.{name}": value for (layer, _, name), value in parts})
"""


class _Writer:
    """Writes one net."""

    def __init__(self, net: CaffeNet, extra: Mapping[str, nn.Module]) -> None:
        self.net, self.extra, self.sources = net, extra, Sources(imports={"from torch import nn", "import torch"})
        self.nodes = [node for node in net.caffe.nodes if is_computed(node)]
        self.attributes = _distinct([*extra, *(node.key for node in self.nodes)], vars(nn.Module).keys() | {"training"})
        self.variables = _distinct(net.caffe.shapes, {"self"})

    def lines(self, values: str) -> Iterator[str]:
        """Yield the lines of the file; `values` is the name of the file next to it."""
        body = [*self._constructor(), "", *self._forward()]
        yield '"""A Caffe net as a PyTorch module, written by caffe-compat.'
        yield ""
        yield f"``load()`` returns it with the values of {values}, which needs the package safetensors."
        yield '"""'
        yield ""
        yield "from __future__ import annotations"
        yield ""
        yield from _sorted_imports({*self.sources.imports, "from pathlib import Path"})
        if labels := labels_of(self.net):
            yield ""
            yield from call("LABELS = ", [json.dumps(label, ensure_ascii=False) for label in labels], 0, brackets="[]")
        block = False  # whether the last definition is a class or a function, which have two empty lines on both sides
        for source in self.sources.definitions.values():
            last, block = block, source.startswith(("class", "def", "@"))
            yield from ("", "", source) if last or block else ("", source)
        yield from ("", "", "class Net(nn.Module):")
        yield from (f'    """{self._title()}"""', "", *body)
        yield _LOAD.format(weights=json.dumps(values), state="".join(self._state())).rstrip("\n")

    def _title(self) -> str:
        inputs = (f"{self.variables[blob]} of shape {self.net.caffe.shapes[blob]}" for blob in self.net.inputs)
        return f"The definition's inputs are {', '.join(inputs)}."

    def _constructor(self) -> Iterator[str]:
        yield "    def __init__(self) -> None:"
        yield "        super().__init__()"
        for key, module in self.extra.items():
            name, parts = self.sources.constructor(module)
            yield from call(f"self.{self.attributes[key]} = {name}", parts, 8)
        problems: list[CaffeCompatError] = []
        for node in self.nodes:
            try:
                name, parts = self._constructed(node)
                yield from call(f"self.{self.attributes[node.key]} = {name}", parts, 8)
            except NotPortableError as error:
                problems.append(refusal(node, "python", str(error)))
        raise_together(problems)
        for slot in self.net.caffe.slots:
            if slot.owner is not None:
                yield f"        self.{self._place(slot.key)} = self.{self._place(slot.owner)}"

    def _constructed(self, node: LayerNode) -> tuple[str, list[str]]:
        if any(slot.view for slot in node.slots):
            raise NotPortableError("it shares a blob in another shape")
        return self.sources.constructor(plain_module(self.net.get_submodule(node.key)))

    def _place(self, key: str) -> str:
        layer, _, name = key.partition(".")
        return f"{self.attributes[layer]}.{name}"

    def _forward(self) -> Iterator[str]:
        names = {blob: self.variables[blob] for blob in self.net.caffe.shapes}
        returns = self.net.returns
        result = "torch.Tensor" if len(returns) == 1 else "dict[str, torch.Tensor]"
        inputs = [f"{names[blob]}: torch.Tensor" for blob in self.net.inputs]
        *first, last = call("def forward", ["self", *inputs], 4)
        yield from (*first, f"{last} -> {result}:")
        yield f'        """Return {", ".join(returns) if len(returns) == 1 else "the outputs by blob"}."""'
        for key in self.extra:
            image = names[preprocessing_of_net(self.net).input]
            yield f"        {image} = self.{self.attributes[key]}({image})"
        for node in self.net.caffe.nodes:
            if node.is_split:
                names |= dict.fromkeys(node.tops, names[node.bottoms[0]])
            elif is_computed(node):
                tops = ", ".join(names[top] for top in node.tops)
                head = f"{tops} = self.{self.attributes[node.key]}"
                yield from call(head, [names[blob] for blob in node.bottoms], 8)
        if len(returns) == 1:
            yield f"        return {names[returns[0]]}"
        else:
            pairs = [f"{json.dumps(blob)}: {names[blob]}" for blob in returns]
            yield from call("return ", pairs, 8, brackets="{}")

    def _state(self) -> Iterator[str]:
        """Yield the lines that put the values in place, under the layers' names where these are no attributes."""
        renamed = {key: name for key, name in self.attributes.items() if key != name}
        if not renamed:
            yield "    net.load_state_dict(values)\n"
            return
        pairs = [f"{json.dumps(key)}: {json.dumps(name)}" for key, name in renamed.items()]
        yield from (f"{line}\n" for line in call("names = ", pairs, 4, brackets="{}"))
        yield _RENAME


def _distinct(names: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """Return a Python name for each name, as close to it as there is."""
    used, out = set(taken), dict[str, str]()
    for name in names:
        safe = identifier(name)
        while safe in used:
            safe += "_"
        used.add(safe)
        out[name] = safe
    return out


def _sorted_imports(statements: Iterable[str]) -> Iterator[str]:
    """Yield import statements as ruff sorts them: the standard library first, one statement for each module."""
    members: dict[str, set[str]] = {}
    for statement in statements:
        module, _, names = statement.partition(" import ")
        members.setdefault(module, set()).update(filter(None, [names]))
    merged = {f"{module} import {', '.join(sorted(names))}" if names else module for module, names in members.items()}
    ordered = sorted(merged, key=lambda statement: (statement.startswith("from"), statement))
    torchs = [statement for statement in ordered if statement.split()[1].partition(".")[0] == "torch"]
    yield from (statement for statement in ordered if statement not in torchs)
    yield from ("", *torchs)
