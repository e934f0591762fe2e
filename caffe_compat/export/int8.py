"""Nets as ONNX models that compute in 8 bits: ONNX Runtime's static quantisation, and its loss of accuracy."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from caffe_compat.build.net import CaffeNet
from caffe_compat.errors import DataError, NetError
from caffe_compat.export.onnx import OPSET, to_onnx
from caffe_compat.export.portable import labels_of, metadata, packages
from caffe_compat.export.samples import Samples, open_samples
from caffe_compat.formats.atomic import atomic_path

_UNIT = 1e-3  # how far the probabilities of the classes may be from 1 in sum


@dataclass(frozen=True)
class OutputLoss:
    """The difference of an output of an int8 model from float32's."""

    blob: str
    ccc: float | None
    """Concordance correlation of its values with float32's; None where sizes differ, as of lists of detections."""
    same_class: float | None = None
    """Share of images whose top class is float32's; None if the output has no classes."""
    truth: tuple[float, ...] | None = None
    """Accuracy, or the CCC of values with the true ones, of int8 and of float32; None if it is unknown."""

    def __str__(self) -> str:
        if self.ccc is None:
            return f"{self.blob}: not compared, its size depends on its values"
        parts = [f"CCC with float32 {self.ccc:.4f}"]
        if self.same_class is not None:
            parts.insert(0, f"float32's top class in {self.same_class:.1%}")
        if self.truth is not None and self.same_class is not None:
            parts.append("accuracy {:.1%} (float32 {:.1%})".format(*self.truth))
        elif self.truth is not None:
            parts.append("CCC with the labels {:.4f} (float32 {:.4f})".format(*self.truth))
        return f"{self.blob}: {', '.join(parts)}"


@dataclass
class Comparison:
    """An output in 8 bits and in float32, gathered sample by sample."""

    blob: str
    labels: int = 0
    """Number of names of its classes; 0 without names."""
    truth: Array | None = None
    """The class or the value of each sample, where it is known."""
    _sums: Array = field(default_factory=lambda: np.zeros(6))
    _rows: list[tuple[Array, Array]] = field(default_factory=list)
    _same_sizes: bool = True
    _is_map: bool = False

    def add(self, small: Array, whole: Array) -> None:
        """Add a sample's output in 8 bits and in float32."""
        self._same_sizes &= small.shape == whole.shape
        if not self._same_sizes:
            return
        self._sums += _sums(small, whole)
        self._is_map |= whole.size != (*whole.shape[1:2], 1)[0]
        if not self._is_map:
            self._rows.append((small.ravel(), whole.ravel()))

    def loss(self) -> OutputLoss:
        """Return the difference from float32."""
        if not self._same_sizes:
            return OutputLoss(self.blob, None)
        ccc = _ccc(self._sums)
        if self._is_map:
            return OutputLoss(self.blob, ccc)
        both = [np.array(side, np.float64) for side in zip(*self._rows, strict=True)]
        channels, truth = both[1].shape[1], self.truth
        if channels == 1:
            scores = None if truth is None else tuple(_ccc(_sums(side, truth)) for side in both)
            return OutputLoss(self.blob, ccc, truth=scores)
        if channels != self.labels and (both[1].min() < 0 or np.abs(both[1].sum(1) - 1).max() > _UNIT):
            return OutputLoss(self.blob, ccc)
        top, expected = (side.argmax(1) for side in both)
        accuracies = None if truth is None else tuple(float(np.mean(side == truth)) for side in (top, expected))
        return OutputLoss(self.blob, ccc, float(np.mean(top == expected)), accuracies)


def _sums(a: Array, b: Array) -> Array:
    """Return the count of two arrays' values and the sums of a, b, a², b² and ab."""
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    return np.array([a.size, a.sum(), b.sum(), a @ a, b @ b, a @ b])


def _ccc(sums: Array) -> float:
    """Return Lin's concordance correlation coefficient; 1 for equal constants."""
    a, b, aa, bb, ab = sums[1:] / sums[0]
    spread = aa - a * a + bb - b * b + (a - b) ** 2
    return float(2 * (ab - a * b) / spread) if spread > 0 else 1.0


Array = npt.NDArray[Any]

_PACKAGES = (
    *("onnx", "onnxruntime", "onnxruntime.quantization"),
    *("onnxruntime.quantization.shape_inference", "onnxruntime.quantization.registry"),
)
_PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
"""Operators that ONNX Runtime computes in 8 bits on CPUs; their second input must be constant."""


@dataclass(frozen=True)
class Int8Report:
    """The size of the float32 model, the numbers of samples that calibrated and measured, and the outputs' losses."""

    float_bytes: int
    calibrated: int
    measured: int
    outputs: Sequence[OutputLoss]

    def __str__(self) -> str:
        head = f"int8 by {self.calibrated} samples, measured with {self.measured} others"
        return "".join(f"{line}\n" for line in (head, *self.outputs))


def to_int8(
    net: CaffeNet, file: str | os.PathLike[str], samples: str | os.PathLike[str], *, with_preprocessing: bool = False
) -> Int8Report:
    """Write a net as an ONNX model that computes in 8 bits, complete or not at all; return its loss of accuracy.

    Every second sample calibrates, the others measure the loss, which goes along as metadata, ``int8.txt``.
    Weights are symmetric, with a scale for each channel; blobs have a scale and an offset, from their least and
    greatest values. Weights take 7 of the 8 bits: with 8, ONNX Runtime's sums overflow on x86 processors without VNNI.

    Parameters
    ----------
    net, file, with_preprocessing : see :func:`caffe_compat.export.onnx.to_onnx`.
    samples : a folder of images, or a file of inputs: see :func:`caffe_compat.export.samples.open_samples`.

    Raises
    ------
    CaffeCompatError
        As for :func:`to_onnx`; or the samples cannot be used, no layer can be computed in 8 bits, or the package
        onnxruntime is not installed.
    """
    onnx, runtime, *_ = packages("int8", *_PACKAGES)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        whole, plain, small = (Path(folder) / f"{name}.onnx" for name in ("float", "fused", "int8"))
        given = open_samples(net, Path(samples), with_preprocessing=with_preprocessing)
        if len(given.files) < 2:
            hint = "a few hundred are usual: half calibrate, the others measure the loss"
            raise DataError("one sample is too few", code="wrong-count", file=given.source, hint=hint)
        to_onnx(net, whole, with_preprocessing=with_preprocessing)
        session = _session(runtime, whole)
        given = _that_fit(session, given)
        runtime.quantization.shape_inference.quant_pre_process(str(whole), str(plain), skip_symbolic_shape=True)
        model = onnx.load(plain)
        _quantise(
            runtime.quantization, model, small, given, _chosen(model, runtime.quantization.registry.QLinearOpsRegistry)
        )
        report = _report(net, whole, session, _session(runtime, small), given)
        model = onnx.load(small)
        _tidy(onnx, model, metadata(net) | {"int8.txt": str(report)})
        with atomic_path(file) as partial:
            partial.write_bytes(model.SerializeToString())
    return report


def _session(runtime: Any, file: Path) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _that_fit(session: Any, samples: Samples) -> Samples:
    """Return the samples, refused as they are read where they do not have the sizes of the model's inputs."""
    inputs = {value.name: value.shape for value in session.get_inputs()}
    batch = next((shape[0] for shape in inputs.values() if shape and isinstance(shape[0], int) and shape[0] > 1), None)
    if batch is not None:
        hint = "set the first size to 1 with --input"
        raise NetError(
            "the net takes several samples at once", code="unsupported", field="batch", value=batch, hint=hint
        )

    def read(index: int) -> Mapping[str, Array]:
        sample = samples.read(index)
        for blob, expected in inputs.items():
            shape = sample[blob].shape
            free = [size if isinstance(other, str) else other for size, other in zip(shape, expected, strict=False)]
            if len(shape) != len(expected) or list(shape) != free:
                problem = f"{blob} has shape {shape}, the model takes {tuple(expected)}"
                hint = "for images, set resize in the preprocessing"
                raise DataError(problem, code="shape-mismatch", file=samples.files[index], hint=hint)
        return sample

    return replace(samples, read=read)


def _chosen(model: Any, between: Container[str]) -> list[str]:
    """Name all nodes; return those to compute in 8 bits: products by constants, and operators between them."""
    constants = {value.name for value in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    takers, chosen, products = dict[str, list[bool]](), list[str](), 0
    for index, node in reversed(list(enumerate(model.graph.node))):
        node.name = f"{node.name}:{index}"
        product = node.op_type in _PRODUCTS and node.input[1] in constants
        users = [taken for value in node.output for taken in takers.get(value, [])]
        inner = node.op_type in between and bool(users) and all(users) and outputs.isdisjoint(node.output)
        products += product
        if product or inner:
            chosen.append(node.name)
        for value in node.input:
            takers.setdefault(value, []).append(product or inner)
    if not products:
        problem = "the net has no layer that can be computed in 8 bits"
        raise NetError(problem, code="unsupported", field="int8", value=True, hint="export it without int8")
    return chosen


class _Reader:
    """The samples for calibration, in the form of ONNX Runtime's CalibrationDataReader."""

    def __init__(self, samples: Samples) -> None:
        rows = tqdm(range(0, len(samples.files), 2), "calibrate", leave=False, disable=None)
        self._samples = (samples.read(row) for row in rows)

    def get_next(self) -> Mapping[str, Array] | None:
        """Return the next sample, or None after the last."""
        return next(self._samples, None)


def _quantise(package: Any, model: Any, target: Path, samples: Samples, nodes: Sequence[str]) -> None:
    package.quantize_static(
        model,
        str(target),
        _Reader(samples),
        quant_format=package.QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=package.QuantType.QUInt8,
        weight_type=package.QuantType.QInt8,
        nodes_to_quantize=list(nodes),
        calibrate_method=package.CalibrationMethod.MinMax,
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},  # their sums need no rounding
    )


def _report(net: CaffeNet, whole: Path, before: Any, after: Any, samples: Samples) -> Int8Report:
    names = [value.name for value in before.get_outputs()]
    measured = range(1, len(samples.files), 2)
    truth = None if samples.truth is None else samples.truth[1::2]
    outputs = [Comparison(name, len(labels_of(net)), truth) for name in names]
    for row in tqdm(measured, "measure", leave=False, disable=None):
        sample = samples.read(row)
        for output, small, large in zip(outputs, after.run(names, sample), before.run(names, sample), strict=True):
            output.add(small, large)
    losses = tuple(output.loss() for output in outputs)
    return Int8Report(whole.stat().st_size, len(samples.files) - len(measured), len(measured), losses)


def _tidy(onnx: Any, model: Any, texts: Mapping[str, str]) -> None:
    """Let a model name the operators that it has, and carry these texts."""
    model.producer_name = "caffe-compat"
    del model.opset_import[:], model.metadata_props[:]
    model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    onnx.helper.set_model_props(model, dict(texts))
    onnx.checker.check_model(model, full_check=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the notes of ONNX Runtime about its own workings from the user; its failures become errors of one line."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        problem = f"ONNX Runtime cannot run the net: {str(error).splitlines()[0]}"
        hint = "check the size of the images, and the model without int8"
        raise NetError(problem, code="unsupported", field="int8", hint=hint) from None
    finally:
        logging.root.setLevel(level)
