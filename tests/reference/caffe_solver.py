"""Training as Caffe's SGD solver does it: a Net, batches in order, gradients of iter_size passes, an update."""

from tests.reference.caffe_net import Net
from tests.reference.caffe_sgd import SGD


def batches(columns, size):
    """Yield dicts of `size` rows of every column, in order, from the top again after the last row."""
    rows = len(next(iter(columns.values())))
    row = 0
    while True:
        picked = [(row + i) % rows for i in range(size)]
        yield {name: values[picked] for name, values in columns.items()}
        row = (row + size) % rows


def learnable(net):
    """The blobs of a net, their gradients and multipliers, each once, in Caffe's order."""
    seen, blobs = set(), []
    for layer in net.layers:
        for i, (blob, diff) in enumerate(zip(layer.blobs, layer.diffs, strict=True)):
            if id(blob) in seen:
                continue
            seen.add(id(blob))
            spec = layer.param.param[i] if i < len(layer.param.param) else None
            frozen = layer.param.type == "BatchNorm"
            lr_mult = 0.0 if frozen else spec.lr_mult if spec else 1.0
            blobs.append((blob, diff, lr_mult, spec.decay_mult if spec else 1.0))
    return blobs


def train(layers, blobs, columns, size, solver, iterations):
    """Yield the losses of every iteration's passes and the net after it; `solver` is a SolverParameter with a fixed rate."""
    net = Net(layers, blobs, "TRAIN")
    values, diffs, lr_mults, decay_mults = zip(*learnable(net), strict=True)
    rule = SGD(
        values, lr_mults, decay_mults, momentum=solver.momentum, weight_decay=solver.weight_decay,
        regularization=solver.regularization_type, clip=solver.clip_gradients, iter_size=solver.iter_size,
    )  # fmt: skip
    data = batches(columns, size)
    for _ in range(iterations):
        net.clear()
        losses = []
        for _ in range(solver.iter_size):
            net.forward(next(data))
            losses.append(net.loss())
            net.backward()
        rule.update(diffs, solver.base_lr)
        yield losses, net
