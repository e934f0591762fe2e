"""Features of a frozen base: computed once to train the head on, or with the class scores for frames of clips."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.build.net import CaffeNet, load_net
from caffe_compat.build.weights import LoadReport
from caffe_compat.data import CRand
from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.errors import DataError, NetError, WeightsError
from caffe_compat.formats.files import new_hdf5
from caffe_compat.graph.costs import work
from caffe_compat.runtime.threads import threads_for
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver.nets import FedNet
from lq_emotion.common.devices import choose_device
from lq_emotion.common.lists import write_list
from lq_emotion.common.progress import Say
from lq_emotion.nets.head import HeadedNet, base_of, headed_training_net

if TYPE_CHECKING:
    import h5py

Array = npt.NDArray[np.float32]
_LINES = 10  # of progress
_FLAT = "features"


def cache_features(
    net: HeadedNet,
    blob: str,
    weights: Path,
    data: pb.LayerParameter,
    rows: int,
    out: Path,
    *,
    threads: int,
    device: str = "cpu",
    say: Say = lambda _: None,
) -> Path:
    """Write what a head sees of a frozen base, row by row, and return the list file that HDF5Data reads.

    The base, up to `blob`, is run by the very operators of the solver's net (phase TRAIN, stored statistics of
    BatchNorm). Training the head on the features equals, bit for bit, training the frozen net on the data where all of
    these hold:

    - both begin with the same weights of the head, from a file: drawn from one seed, they differ;
    - both have the batch of `data`, and `rows` is a multiple of it: values of a row can depend on its place in a batch;
    - both use the same number of threads. A solver runs a net of less than 2**26 multiply-accumulates a pass on one
      thread, so that the head alone may run on one where the whole net runs on several: on one thread all is equal;
    - dropout, if there is any, is in the head.

    `data` is the data layer of the training, whose tops are the input's blob and the labels, without shuffling,
    mirroring and random crops. A crop in the middle needs its field ``phase: TEST``, as Caffe crops at random in TRAIN.
    Each of the `rows` of its source is taken once. The HDF5 file `out` has the datasets `blob` (rows, C, H, W) and,
    named like the second top, labels (rows,), both float32; the list has the ending ``.txt``. After an error there is
    no output.
    """
    _refuse_random(data)
    if rows < 1:
        raise DataError("must be positive", code="out-of-range", field="rows", value=rows)
    bottom = next(layer.bottom[0] for layer in net.deploy.layer if layer.name == net.head[0])
    if bottom != blob:
        hint = f"its first layer takes {bottom!r}"
        raise NetError("the head does not take this blob", code="name-unknown", field="blob", value=blob, hint=hint)
    names = blob, data.top[1]
    with _threads(threads), _frozen_net(net, weights, data, device) as frozen, new_hdf5(out) as file:
        done, line = 0, math.ceil(rows / _LINES)
        for values in _batches(frozen, net.head[0], data.top[1], rows):
            if not done:
                file.do(partial(create_rows, rows, dict(zip(names, values, strict=True))))
            file.do(partial(write_rows, done, dict(zip(names, values, strict=True))))
            before, done = done, done + len(values[0])
            if done == rows or done // line > before // line:
                say(f"features of {done} of {rows} rows")
    listing = out.with_suffix(".txt")
    write_list([out], listing)
    return listing


class FeatureNet:
    """A net with one output that answers with a blob, such as the last before the head, and its class scores."""

    def __init__(self, definition: pb.NetParameter, weights: Path, blob: str, *, device: str = "cpu") -> None:
        self._device = choose_device(device)
        base_of(definition, blob)  # refuses an unknown blob
        message = pb.NetParameter()
        message.CopyFrom(definition)
        message.layer.add(name=_FLAT, type="Flatten", bottom=[blob], top=[_FLAT])
        self._net = load_net(message, weights).to(self._device)
        refuse_missing(self._net, self._net.meta["report"], weights)
        outputs = [name for name in self._net.caffe.outputs if name != _FLAT]
        if len(outputs) != 1:
            problem = f"expected one output, the net has {', '.join(outputs) or 'none'}"
            raise NetError(problem, code="wrong-count", hint="pass a definition that ends in class scores")
        self._scores = outputs[0]

    def __call__(self, images: Array, batch: int = 32) -> tuple[Array, Array]:
        """Return features (N, C) and class scores (N, K), float32, of images (N, 3, H, W), float32 as the net takes.

        At most `batch` images are in the net at once.
        """
        if not len(images):
            raise DataError("there are none", code="empty", field="images")
        features, scores = [], []
        for start in range(0, len(images), batch):
            values = torch.from_numpy(np.ascontiguousarray(images[start : start + batch], np.float32))
            with torch.no_grad():
                answer = self._net.forward_dict({self._net.inputs[0]: values.to(self._device)})
            features.append(answer[_FLAT].cpu().numpy())
            scores.append(answer[self._scores].flatten(1).cpu().numpy())
        return np.concatenate(features), np.concatenate(scores)


def refuse_missing(net: CaffeNet, report: LoadReport, weights: Path, drawn: Collection[str] = ()) -> None:
    """Raise WeightsError if a file of weights lacks blobs of a net, in other layers than those that may be `drawn`."""
    at_filler = set(report.left_at_filler)
    missing = [
        f"{slot.layer}.{slot.blob.name}"
        for slot in net.caffe.slots
        if slot.key in at_filler and slot.layer not in drawn
    ]
    if missing:
        problem = f"lacks {len(missing)} of the net's blobs, such as {missing[0]}"
        raise WeightsError(problem, code="mismatch", file=weights, hint="pass the weights of this definition")


def _refuse_random(data: pb.LayerParameter) -> None:
    transform, images = data.transform_param, data.image_data_param
    drawn = {
        "image_data_param.shuffle": images.shuffle,
        "image_data_param.rand_skip": bool(images.rand_skip),
        "hdf5_data_param.shuffle": data.hdf5_data_param.shuffle,
        "transform_param.mirror": transform.mirror,
        "transform_param.crop_size": bool(transform.crop_size)
        and not (data.HasField("phase") and data.phase == pb.TEST),
    }
    for field in (name for name, is_drawn in drawn.items() if is_drawn):
        hint = "set the layer's phase: TEST for the crop in the middle" if field.endswith("crop_size") else "remove it"
        raise DataError(
            "features need the same rows in every pass", code="conflict", layer=data.name, field=field, hint=hint
        )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _frozen_net(net: HeadedNet, weights: Path, data: pb.LayerParameter, device: str) -> FedNet:
    """Return the very net that a solver builds to train the head on the data."""
    message = headed_training_net(net, [data], frozen=True)
    prepared = prepare(message, net_state("TRAIN"))
    fed = FedNet(prepared, rng=CRand(random_seed=0), seed=0, device=choose_device(device))
    try:
        refuse_missing(fed.net, fed.load(weights), weights, net.head)
    except BaseException:
        fed.close()
        raise
    return fed


def _batches(frozen: FedNet, taker: str, label: str, rows: int) -> Iterator[tuple[Array, Array]]:
    """Yield features and labels, batch by batch, `rows` in all: the bottom of layer `taker`, and the top `label`."""
    seen: list[torch.Tensor] = []
    key = next(node.key for node in frozen.graph.nodes if node.name == taker)
    handle = frozen.net.get_submodule(key).register_forward_pre_hook(lambda _, bottoms: seen.append(bottoms[0]))
    try:
        while rows > 0:
            (source,) = frozen.sources
            inputs = source.next()
            with threads_for(work(frozen.graph)):  # as a solver's iteration
                frozen.net.forward_dict({name: value.to(frozen.device) for name, value in inputs.items()})
            features, labels = seen.pop().detach().cpu().numpy(), inputs[label].numpy()
            yield features[:rows], labels[:rows]
            rows -= len(labels)
    finally:
        handle.remove()


def create_rows(rows: int, first: Mapping[str, Array], file: h5py.File) -> None:
    """Make a float32 dataset of some rows for each array (N, ...), the first N of them."""
    for name, values in first.items():
        file.create_dataset(name, (rows, *values.shape[1:]), np.float32)


def write_rows(start: int, arrays: Mapping[str, Array], file: h5py.File) -> None:
    """Write arrays to rows of their datasets."""
    for name, values in arrays.items():
        file[name][start : start + len(values)] = values
