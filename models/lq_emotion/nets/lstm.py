"""A head for sequences in Caffe's own layers: features of frames -> LSTM -> its last step -> two dense layers.

Source of its sizes: Maclean, facial emotion recognition for cloud robotics: 30 frames, an LSTM of 1024, two dense
layers. It does not give their sizes; 512 is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from caffe_compat.errors import NetError
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import hdf5_data
from lq_emotion.nets.head import LABEL, answer, dense_layers, losses

ROWS, ROW_CONT, ROW_LABEL = "rows", "row_cont", "row_label"
FEATURES, CONT = "feat", "cont"


@dataclass(frozen=True)
class SequenceHead:
    """The sizes of a head for sequences: T steps (frames) of C features."""

    steps: int = 30
    features: int = 2048
    memory: int = 1024
    """Outputs of the LSTM."""
    hidden: int = 512
    """Outputs of the first dense layer; `classes` are those of the second."""
    classes: int = 8

    def __post_init__(self) -> None:
        if self.steps < 2:
            hint = "an LSTM needs two steps or more; use nets.head for single frames"
            raise NetError("too short", code="out-of-range", field="steps", value=self.steps, hint=hint)

    def deploy(self, sequences: int = 1) -> pb.NetParameter:
        """Return the definition to apply: feat (T, N, C) and cont (T, N) in, prob (N, classes) out.

        cont is 0 where a sequence begins and 1 where it goes on. `sequences` is N.
        """
        message = pb.NetParameter(name="LSTM")
        for blob, dims in ((FEATURES, (self.steps, sequences, self.features)), (CONT, (self.steps, sequences))):
            layer = message.layer.add(name=blob, type="Input", top=[blob])
            layer.input_param.shape.add(dim=dims)
        message.layer.extend([*self._layers(sequences), answer()])
        return message

    def data(self, source: str, sequences: int, phase: int | None = None) -> pb.LayerParameter:
        """Return the layer that feeds `sequences` sequences from HDF5 files.

        A row of ``rows`` (rows, C), ``row_cont`` (rows) and ``row_label`` (rows) is a frame. A batch is T x N rows: the
        first frames of N sequences, then their second frames, and so on. HDF5Data shuffles rows, which would tear
        sequences apart: write them in the order of training.
        """
        return hdf5_data(source, self.steps * sequences, phase, tops=(ROWS, ROW_CONT, ROW_LABEL))

    def training(self, data: Sequence[pb.LayerParameter], *, sequences: int, accuracy: bool = False) -> pb.NetParameter:
        """Return the definition to train on batches of N sequences; a sequence's label is that of its last frame."""
        steps, last = self.steps, self.steps - 1
        message = pb.NetParameter(name="LSTM")
        message.layer.extend(
            [
                *data,
                _reshape(FEATURES, ROWS, (steps, sequences, self.features)),
                _reshape(CONT, ROW_CONT, (steps, sequences)),
                _reshape("labels", ROW_LABEL, (steps, sequences)),
                *_last_step("labels", last),
                _reshape(LABEL, "labels_last", (sequences,)),
                *self._layers(sequences),
                *losses("SoftmaxWithLoss", "scores", LABEL, accuracy=accuracy),
            ]
        )
        return message

    def _layers(self, sequences: int) -> Iterator[pb.LayerParameter]:
        lstm = pb.LayerParameter(name="lstm", type="LSTM", bottom=[FEATURES, CONT], top=["lstm"])
        lstm.recurrent_param.num_output = self.memory
        lstm.recurrent_param.weight_filler.CopyFrom(pb.FillerParameter(type="uniform", min=-0.08, max=0.08))
        lstm.recurrent_param.bias_filler.CopyFrom(pb.FillerParameter(type="constant", value=0))
        yield lstm
        yield from _last_step("lstm", self.steps - 1)
        yield _reshape("code", "lstm_last", (sequences, self.memory))
        yield from dense_layers("code", self.hidden, self.classes)


def _last_step(blob: str, last: int) -> Iterator[pb.LayerParameter]:
    """Yield the layers that cut the last step off a blob (T, ...), as ``_last`` (1, ...), and silence the others."""
    layer = pb.LayerParameter(name=f"{blob}_slice", type="Slice", bottom=[blob], top=[f"{blob}_head", f"{blob}_last"])
    layer.slice_param.axis = 0
    layer.slice_param.slice_point.append(last)
    yield layer
    yield pb.LayerParameter(name=f"{blob}_quiet", type="Silence", bottom=[f"{blob}_head"])


def _reshape(name: str, bottom: str, dims: Sequence[int]) -> pb.LayerParameter:
    layer = pb.LayerParameter(name=name, type="Reshape", bottom=[bottom], top=[name])
    layer.reshape_param.shape.dim.extend(dims)
    return layer
