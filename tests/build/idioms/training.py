"""Idioms in training: nets in train(), gradients asked for."""

import copy
import threading

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint

from tests.build.idioms.rows import Adapter, Halved, Table, conv, key, linear, norm, passed, pool

TABLE = Table()
row = TABLE.row


def loss(net, x):
    torch.manual_seed(5)  # of Dropout
    return net(x).square().mean()


def gradients(net, x):
    """Return the gradients to weights and batch."""
    net.zero_grad()
    x = x.detach().requires_grad_()
    loss(net, x).backward()
    return x.grad, *(parameter.grad for parameter in net.parameters() if parameter.grad is not None)


def after(change):
    """Return a row's function: a pass, a change, a pass forward and back."""

    def run(net, x):
        gradients(net, x)
        change(net)
        return gradients(net, x)

    return run


row(name="gradients")(gradients)


def _patch(net):
    layer = conv(net)
    original = layer.forward
    layer.forward = lambda x: original(x) * 2


def _double_output(module, _, output):
    return output * 2


def _double_gradient(module, inputs, outputs):
    return tuple(None if g is None else g * 2 for g in inputs)


for name, change in {
    "weight.data.mul_": lambda net: conv(net).weight.data.mul_(2),
    "weight.detach().numpy()": lambda net: conv(net).weight.detach().numpy().__imul__(2),
    "forward hook": lambda net: conv(net).register_forward_hook(_double_output),
    "hook of the net": lambda net: net.register_forward_hook(_double_output),
    "full backward hook": lambda net: conv(net).register_full_backward_hook(_double_gradient),
    "full backward pre-hook": lambda net: conv(net).register_full_backward_pre_hook(lambda m, g: (g[0] * 2,)),
    "hook of a gradient": lambda net: conv(net).weight.register_hook(lambda g: g * 2),
    "patched forward": _patch,
    "wrapped": lambda net: setattr(net, key(net), Adapter(conv(net))),
    "parametrize": lambda net: parametrize.register_parametrization(conv(net), "weight", Halved()),
    "prune": lambda net: prune.l1_unstructured(conv(net), "weight", amount=0.5),
    "spectral_norm": lambda net: parametrizations.spectral_norm(conv(net)),
    "frozen": lambda net: conv(net).weight.requires_grad_(False),
}.items():
    row(writes=True, name=f"module: {name}")(after(change))
row(name="module: weight_norm")(after(lambda net: parametrizations.weight_norm(conv(net))))
row(writes=True, nets=("CNN+D", "mixed"), name="module: pooling's padding")(
    after(lambda net: setattr(pool(net), "padding", (1, 1)))
)
row(writes=True, nets=("xception",), name="module: one in eval()")(after(lambda net: norm(net).eval()))
row(writes=True, nets=("CNN+D", "mixed"), name="module: an inner product")(
    after(lambda net: setattr(linear(net), "weight", nn.Parameter(linear(net).weight.detach() * 2)))
)


# Below a norm a bias has the gradient 0 but for rounding, which AdamW makes steps of the same size as any.
@row(writes=True, nets=("CNN+D", "SR-FCN", "mixed"))
def train_then_evaluate(net, x):
    passed(net.eval(), x)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, fused=True)
    for _ in range(2):
        gradients(net.train(), x)
        optimizer.step()
    return passed(net.eval(), x)


@row()
def gradient_penalty(net, x):
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(net, x), x, create_graph=True)
    gradient.square().sum().backward()
    return tuple(parameter.grad for parameter in net.parameters() if parameter.grad is not None)


def _checkpointed(*, use_reentrant):
    def run(net, x):
        x = x.detach().requires_grad_()
        checkpoint(lambda x: loss(net, x), x, use_reentrant=use_reentrant).backward()
        return x.grad, *(parameter.grad for parameter in net.parameters())

    return run


# Statistics move in each pass: a pass that is run twice moves them twice, here and there.
row(name="checkpoint, reentrant")(_checkpointed(use_reentrant=True))
row(name="checkpoint")(_checkpointed(use_reentrant=False))


@row()
def retain_graph(net, x):
    value = loss(net, x)
    value.backward(retain_graph=True)
    value.backward()
    return tuple(parameter.grad for parameter in net.parameters())


@row()
def anomaly_detection(net, x):
    with torch.autograd.detect_anomaly(check_nan=True):
        return gradients(net, x)


@row()
def saved_on_the_cpu(net, x):
    with torch.autograd.graph.save_on_cpu():
        return gradients(net, x)


@row()
def many_gradients_at_once(net, x):
    x = x.detach().requires_grad_()
    torch.manual_seed(5)
    y = net(x).flatten()[:3]
    (rows,) = torch.autograd.grad(y, x, torch.eye(len(y)), is_grads_batched=True)
    return rows


@row(nets=("CNN+D", "SR-FCN"))
def gradient_transform(net, x):
    weights = dict(net.named_parameters())
    return torch.func.grad(lambda w: loss(lambda x: torch.func.functional_call(net, w, x), x))(weights)


@row(nets=("SR-FCN",))
def gradients_of_each_image(net, x):
    weights = {name: value.detach() for name, value in net.named_parameters()}
    of_one = torch.func.grad(lambda w, x: torch.func.functional_call(net, w, x[None]).square().mean())
    return torch.func.vmap(of_one, in_dims=(None, 0))(weights, x)


@row(nets=("CNN+D", "SR-FCN"))
def jacobian(net, x):
    torch.manual_seed(5)
    return torch.func.jacrev(lambda x: net(x).flatten()[:3], chunk_size=1)(x)


@row(nets=("CNN+D", "SR-FCN"))
def jvp(net, x):
    torch.manual_seed(5)
    return torch.func.jvp(net, (x,), (torch.ones_like(x),))


@row()
def autocast(net, x):
    with torch.autocast("cpu"):
        value = loss(net, x)
    return value.float().detach()


@row()
def double(net, x):
    return tuple(g.float() for g in gradients(net.double(), x.double()))


@row()
def no_grad(net, x):
    torch.manual_seed(5)
    return passed(net, x)


@row()
def flop_counter(net, x):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        gradients(net, x)
    return counter.get_total_flops()


@row()
def profiler(net, x):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        gradients(net, x)
    return [event.count for event in profile.key_averages() if event.key == "aten::conv2d"]


@row(nets=("CNN+D", "SR-FCN"))
def compile_and_train(net, x):
    torch._dynamo.reset()
    return gradients(torch.compile(net, backend="aot_eager", fullgraph=True), x)


@row(writes=True)
def a_copy_in_training(net, x):
    gradients(net, x)
    twin = copy.deepcopy(net)
    conv(twin).weight.data.mul_(2)
    return gradients(twin, x)


@row(nets=("SR-FCN", "xception"))  # Dropout draws from the one generator of all threads
def threads(net, x):
    nets, results = [net.eval().train(), copy.deepcopy(net)], [None, None]

    def run(i):
        results[i] = gradients(nets[i], x)

    workers = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return tuple(results)


@row()
def types_of_modules(net, x):
    gradients(net, x)
    return [type(module).__name__ for module in net.modules()][1:]


@row()
def memory_format_of_gradients(net, x):
    return [gradient.is_contiguous() for gradient in gradients(net, x)[1:]]


def _train_distributed(rank, net, x, folder, queue):
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    parallel = nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=1e-6)
    for _ in range(2):
        parallel(x[rank::2]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    result = passed(parallel.eval(), x)
    torch.distributed.destroy_process_group()
    if rank == 0:
        queue.put(result.numpy())


@row(writes=True, nets=("SR-FCN",), slow=True)
def distributed_data_parallel(net, x, folder):
    x = torch.cat([x] * 8)  # enough for the compiled operators
    context = torch.multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    processes = [context.Process(target=_train_distributed, args=(rank, net, x, folder, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    result = torch.from_numpy(queue.get())
    for process in processes:
        process.join()
    return result
