"""The net of a training with the user's files and changes in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from caffe_compat.layers import facts
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.lists import write_list
from lq_emotion.nets.blocks import SIZE
from lq_emotion.nets.cnn_d import shares, with_outputs
from lq_emotion.nets.definitions import NetBuilder
from lq_emotion.nets.switches import PaperSwitches
from lq_emotion.training.data_lists import Listed


def sources(data: Mapping[str, Listed], factors: Sequence[int], folder: Path) -> dict[str, list[Path]]:
    """Return by phase the lists of files for the net's branches: the user's, or one for each size in `folder`."""
    if len(factors) == 1:
        return {phase: [listed.path] for phase, listed in data.items()}
    return {phase: [folder / f"{phase}_{factor}.txt" for factor in factors] for phase in data}


def write_sources(data: Mapping[str, Listed], factors: Sequence[int], folder: Path) -> None:
    """Write the lists of a mixture of sizes that `sources` names."""
    if len(factors) == 1:
        return
    for phase, paths in sources(data, factors, folder).items():
        for factor, path in zip(factors, paths, strict=True):
            files = [file for file, side in data[phase].sides.items() if side * factor == SIZE]
            write_list(files, path)


def make_net(
    builder: NetBuilder,
    switches: PaperSwitches,
    factors: Sequence[int],
    files: Mapping[str, Sequence[Path]],
    *,
    batch: int | None,
    filler: str | None,
    outputs: int = 1,
) -> tuple[pb.NetParameter, list[str]]:
    """Return the definition of a net on the user's files, and what differs from the one that was built.

    `files` are, by phase, the lists of files of the net's branches; `batch` and `filler` replace those of the
    definition; a sample has `outputs` labels.
    """
    made = builder.train(switches, factors)
    changes = []
    if outputs != 1:
        with_outputs(made, outputs)
        changes.append(f"num_output of fc5: 1 -> {outputs}")
    for phase, code in (("train", pb.TRAIN), ("test", pb.TEST)):
        layers = [layer for layer in made.layer if layer.type == "HDF5Data" and layer.include[0].phase == code]
        for layer, path in zip(layers, files[phase], strict=True):
            layer.hdf5_data_param.source = str(path)
        size = sum(layer.hdf5_data_param.batch_size for layer in layers)
        if phase == "train" and batch not in (None, size):
            assert batch is not None
            changes.append(f"batch_size: {size} -> {batch}")
            for layer, share in zip(layers, shares(batch, len(layers)), strict=True):
                layer.hdf5_data_param.batch_size = share
    return made, changes + ([] if filler is None else _fill(made, filler))


def _fill(net: pb.NetParameter, filler: str) -> list[str]:
    changes: dict[str, None] = {}
    for layer in net.layer:
        if name := facts(layer.type).weight_message:
            param = getattr(layer, name)
            if param.weight_filler.type != filler:
                changes[f"weight_filler: {param.weight_filler.type} -> {filler}"] = None
                param.weight_filler.CopyFrom(pb.FillerParameter(type=filler))
    return list(changes)
