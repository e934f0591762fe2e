"""Rules about nets that train badly without an error."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.layers import REGISTRY, Source, facts
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.lint.rules import Finding
from caffe_compat.tools.lint.target import State, Subject


def losses(subject: Subject) -> Iterator[Finding]:
    """Yield losses of weight 0, and losses on unsuitable scores."""
    for state in subject.states:
        for number, layer in enumerate(state.layers):
            facts = REGISTRY.get(layer.type)
            if facts is None or not facts.is_loss:
                continue
            if layer.loss_weight and not any(layer.loss_weight):
                text = ("its loss weight is 0", "it is computed but has no gradient", "set a loss_weight, or remove it")
                yield subject.finding("loss-weight", "warning", layer, text, "loss_weight", phase=state.phase)
            value = next(iter(state.flow.bottoms[number]), None)
            maker = None if value is None else state.layers[value.maker]
            why = facts.unsuited_scores.get(maker.type) if maker is not None else None
            if why and maker is not None:
                text = (
                    f"its scores come from layer {maker.name!r} ({maker.type})",
                    why,
                    f"read the bottom of {maker.name!r} instead",
                )
                yield subject.finding("double-activation", "warning", layer, text, "bottom", phase=state.phase)


def batch_norm(subject: Subject) -> Iterator[Finding]:
    """Yield BatchNorm layers that differ from batch normalization as published."""
    for state in subject.states:
        for number, layer in enumerate(state.layers):
            if facts(layer.type).only_statistics:
                yield from _norm(subject, state, number, layer)
    for layer in subject.raw.layer:
        if facts(layer.type).only_statistics and any(param.lr_mult for param in layer.param):
            text = (
                "its statistics have a learning rate",
                "Caffe sets it to 0 if there are three `param`, and stops otherwise",
                "remove its `param`",
            )
            yield subject.finding("batch-norm-rate", "warning", layer, text, "param")


def _norm(subject: Subject, state: State, number: int, layer: pb.LayerParameter) -> Iterator[Finding]:
    param, phase = layer.batch_norm_param, state.phase
    readers = [state.layers[reader].type for value in state.flow.tops[number] for reader in value.readers]
    if readers and not any(facts(reader).is_affine for reader in readers):
        text = (
            "no Scale layer follows",
            "Caffe's BatchNorm only normalizes: it learns no scale and no shift",
            "add a Scale layer with scale_param { bias_term: true }",
        )
        yield subject.finding("batch-norm-alone", "warning", layer, text, phase=phase)
    if param.HasField("use_global_stats") and param.use_global_stats != (phase == "TEST"):
        text = (
            ("use_global_stats in training", "the statistics stay those of the weights", "remove the field")
            if phase == "TRAIN"
            else (
                "testing uses the statistics of the batch",
                "the result of an image depends on the other images of its batch; the learned statistics are not used",
                "remove use_global_stats: its default suits the phase",
            )
        )
        level = "note" if phase == "TRAIN" else "warning"
        yield subject.finding(
            "batch-norm-statistics", level, layer, text, "batch_norm_param.use_global_stats", phase=phase
        )
    value = next(iter(state.flow.bottoms[number]), None)
    maker = None if value is None else state.layers[value.maker]
    if maker is not None and value is not None and len(value.readers) == 1 and facts(maker.type).has_bias(maker):
        text = (
            f"layer {maker.name!r} adds a bias that this layer removes",
            "it costs parameters, memory and time without an effect",
            f"set bias_term: false in {maker.name!r}",
        )
        yield subject.finding("batch-norm-bias", "note", layer, text, phase=phase)


def dropout(subject: Subject) -> Iterator[Finding]:
    """Yield Dropout layers that drop nothing."""
    for layer in subject.net.layer:
        if "dropout_param" in facts(layer.type).accounts and layer.dropout_param.dropout_ratio == 0:
            text = ("dropout_ratio is 0", "the layer has no effect", "remove it, or set a ratio")
            yield subject.finding("dropout", "warning", layer, text, "dropout_param.dropout_ratio")


def zero_weights(subject: Subject) -> Iterator[Finding]:
    """Yield layers without a filler, whose weights start at zero."""
    for state in subject.states:
        if state.phase != "TRAIN" or not state.losses:
            continue
        for layer in state.layers:
            name = facts(layer.type).weight_message
            if not name or (layer.param and not layer.param[0].lr_mult) or layer.blobs:
                continue
            filler = getattr(layer, name).weight_filler
            if filler.type == "constant" and filler.value == 0:
                text = (
                    "its weights start at 0",
                    "the default filler is constant 0: all outputs of the layer have equal values and gradients",
                    "set a weight_filler such as xavier or msra, or start from weights that contain this layer",
                )
                yield subject.finding(
                    "zero-weights", "warning", layer, text, f"{name}.weight_filler", phase=state.phase
                )


def data(subject: Subject) -> Iterator[Finding]:
    """Yield random augmentation in testing, and preprocessing that differs between the phases."""
    feeds: dict[str, pb.LayerParameter] = {}
    for state in subject.states:
        for layer in state.layers:
            if facts(layer.type).source not in (Source.ARRAYS, Source.FILES):
                continue
            yield from _test_data(subject, state, layer)
            first = next(iter(layer.top), "")
            other = feeds.setdefault(first, layer)
            if state.phase == "TEST" and other is not layer:
                yield from _compared(subject, other, layer)


def _test_data(subject: Subject, state: State, layer: pb.LayerParameter) -> Iterator[Finding]:
    if state.phase != "TEST":
        return
    for message, name in ((layer.transform_param, "mirror"), (layer.image_data_param, "shuffle")):
        path = "transform_param" if name == "mirror" else "image_data_param"
        if getattr(message, name):
            text = (
                f"{name} is set in testing",
                "two tests of the same weights give different scores",
                f"set {path}.{name} in the TRAIN layer only",
            )
            yield subject.finding("test-augmented", "warning", layer, text, f"{path}.{name}", phase="TEST")


def _compared(subject: Subject, train: pb.LayerParameter, test: pb.LayerParameter) -> Iterator[Finding]:
    first, second = train.transform_param, test.transform_param
    for name in ("scale", "mean_file", "mean_value", "crop_size"):
        training, testing = getattr(first, name), getattr(second, name)
        training, testing = (list(training), list(testing)) if name == "mean_value" else (training, testing)
        if training != testing:
            text = (
                f"transform_param.{name} is {testing or 'not set'}, but {training or 'not set'} in training",
                "the net is tested on data unlike its training data",
                "use the same value, unless the difference is intended",
            )
            yield subject.finding("train-test", "warning", test, text, f"transform_param.{name}", phase="TEST")
