"""Idioms in inference. Each pass before the idiom has made programs; what is returned is computed after it."""

import copy
import io
import multiprocessing
import pickle
import threading

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from caffe_compat.build.optimise import RECTIFIERS
from tests.build.idioms.rows import Adapter, Halved, Table, conv, key, linear, norm, passed, pool, tensors

TABLE = Table()
row = TABLE.row


def after(change):
    """Return a row's function: a pass, a change, a pass."""

    def run(net, x):
        passed(net, x)
        change(net)
        return passed(net, x)

    return run


# Writes of weights ----------------------------------------------------------------------------------------------------


def _in_no_grad(write):
    def change(net):
        with torch.no_grad():
            write(conv(net).weight)

    return change


def _in_inference_mode(net):
    with torch.inference_mode():
        conv(net).weight.mul_(2)


def _assign_data(net):
    conv(net).weight.data = conv(net).weight.data * 2


def _transpose_data(net):
    conv(net).weight.data = conv(net).weight.data.flip(2).transpose(2, 3)


def _reorder_in_place(net):
    weight = conv(net).weight
    weight.data = weight.data.as_strided(weight.shape, (*weight.stride()[:2], weight.stride()[3], weight.stride()[2]))


def _swap(net):
    torch.utils.swap_tensors(conv(net).weight, nn.Parameter(conv(net).weight.detach() * 2))


def _load(net, *, assign):
    net.load_state_dict({name: value * 1.1 for name, value in net.state_dict().items()}, assign=assign)


def _load_by_swapping(net):
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        _load(net, assign=False)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


def _from_vector(net):
    vector = torch.nn.utils.parameters_to_vector(net.parameters())
    torch.nn.utils.vector_to_parameters(vector * 1.1, net.parameters())


def _initialise(net):
    torch.manual_seed(3)
    net.apply(lambda m: m.weight.data.uniform_(-0.1, 0.1) if isinstance(m, nn.Conv2d) else None)


def _write_storage(net):
    storage = conv(net).weight.untyped_storage()
    storage.copy_((conv(net).weight.detach() * 2).untyped_storage())


for name, write in {
    "mul_": lambda w: w.mul_(2),
    "copy_": lambda w: w.copy_(w * 2),
    "item assignment": lambda w: w.__setitem__(slice(None, None, 2), 1.0),
    "masked_fill_": lambda w: w.masked_fill_(w > 0, 0.1),
    "index_add_": lambda w: w.index_add_(0, torch.tensor([1]), torch.ones_like(w[:1])),
    "foreach": lambda w: torch._foreach_mul_([w], 2.0),
    "out=": lambda w: torch.mul(w, 2, out=w),
    "init": lambda w: (torch.manual_seed(3), nn.init.xavier_uniform_(w, 3.0)),
    "set_": lambda w: w.set_(w.detach() * 2),
}.items():
    row(writes=True, name=f"weight: {name}")(after(_in_no_grad(write)))
for name, write in {
    "in inference_mode": _in_inference_mode,
    ".data.mul_": lambda net: conv(net).weight.data.mul_(2),
    "a slice of .data": lambda net: conv(net).weight.data[:, 0].add_(1),
    ".data =": _assign_data,
    ".data = transposed": _transpose_data,
    ".data = other strides of the same memory": _reorder_in_place,
    "detach().mul_": lambda net: conv(net).weight.detach().mul_(2),
    "detach().numpy()": lambda net: np.multiply(w := conv(net).weight.detach().numpy(), 2, out=w),
    "DLPack": lambda net: torch.from_dlpack(conv(net).weight.detach()).mul_(2),
    "its storage": _write_storage,
    "a new Parameter": lambda net: setattr(conv(net), "weight", nn.Parameter(conv(net).weight.detach() * 2)),
    "swap_tensors": _swap,
    "load_state_dict": lambda net: _load(net, assign=False),
    "load_state_dict, assign": lambda net: _load(net, assign=True),
    "load_state_dict, swapping": _load_by_swapping,
    "vector_to_parameters": _from_vector,
    "apply": _initialise,
    "the bias": lambda net: conv(net).bias.data.add_(1) if conv(net).bias is not None else conv(net).weight.data.neg_(),
}.items():
    row(writes=True, name=f"weight: {name}")(after(write))
row(writes=True, nets=("xception",), name="statistics: in place")(after(lambda net: norm(net).variance.mul_(3)))
row(writes=True, nets=("xception",), name="statistics: register_buffer")(
    after(lambda net: norm(net).register_buffer("mean", norm(net).mean + 1))
)
row(writes=True, nets=("CNN+D", "mixed"), name="inner product: .data.mul_")(
    after(lambda net: linear(net).weight.data.mul_(2))
)
row(writes=True, nets=("CNN+D", "mixed"), name="inner product: .data =")(
    after(lambda net: setattr(linear(net).weight, "data", linear(net).weight.data * 2))
)


@row(writes=True)
def a_view_taken_before_the_first_pass(net, x):
    view = conv(net).weight.detach().view(-1)
    passed(net, x)
    view.mul_(2)
    return passed(net, x)


@row(writes=True)
def an_array_taken_before_the_first_pass(net, x):
    array = conv(net).weight.detach().numpy()
    first = passed(net, x)
    array *= 2
    second = passed(net, x)
    array /= 2
    return second, first, passed(net, x)


@row(writes=True)
def a_state_dict_held_and_written(net, x):
    state = net.state_dict()
    passed(net, x)
    state[f"{key(net)}.weight"].mul_(2)
    return passed(net, x)


@row(writes=True)
def an_array_that_the_weight_is_made_of(net, x):
    array = conv(net).weight.detach().numpy().copy()
    conv(net).weight = nn.Parameter(torch.from_numpy(array))
    passed(net, x)
    array *= 2
    return passed(net, x)


@row(writes=True)
def writes_after_one_another(net, x):
    results = []
    for _ in range(3):
        conv(net).weight.data.mul_(1.3)
        results.append(passed(net, x))
    return tuple(reversed(results))


def _double(tensor):
    tensor.mul_(2)


@row(writes=True)
def shared_memory_written_by_another_process(net, x):
    net.share_memory()
    passed(net, x)
    child = multiprocessing.get_context("fork").Process(target=_double, args=(conv(net).weight.data,))
    child.start()
    child.join()
    return passed(net, x)


@row(writes=True)
def a_mapped_file_written_by_others(net, x, folder):
    file = folder / "weight"
    conv(net).weight.detach().numpy().tofile(file)
    mapped = torch.from_file(str(file), shared=True, size=conv(net).weight.numel())
    conv(net).weight = nn.Parameter(mapped.view_as(conv(net).weight))
    passed(net, x)
    other = np.memmap(file, np.float32, "r+")
    other *= 2
    other.flush()
    return passed(net, x)


@row(writes=True)
def weights_loaded_with_mmap(net, x, folder):
    torch.save(net.state_dict(), folder / "net.pt")
    net.load_state_dict(torch.load(folder / "net.pt", mmap=True), assign=True)
    passed(net, x)
    conv(net).weight.data.mul_(2)
    return passed(net, x)


@row(writes=True)
def requires_grad_off_and_a_write(net, x):
    net.requires_grad_(False)
    passed(net, x)
    conv(net).weight.mul_(2)
    return passed(net, x)


@row(writes=True)
def averaged_weights(net, x):
    average = torch.optim.swa_utils.AveragedModel(net)
    average.update_parameters(net)
    passed(average, x)
    conv(net).weight.data.mul_(3)
    average.update_parameters(net)
    return passed(average, x)


OPTIMIZERS = {
    "SGD": (torch.optim.SGD, {"momentum": 0.9}),
    "SGD, foreach": (torch.optim.SGD, {"foreach": True}),
    "SGD, fused": (torch.optim.SGD, {"fused": True}),
    "Adam": (torch.optim.Adam, {}),
    "Adam, fused": (torch.optim.Adam, {"fused": True}),
    "AdamW, fused": (torch.optim.AdamW, {"fused": True}),
    "AdamW, foreach": (torch.optim.AdamW, {"foreach": True}),
    "Adagrad, fused": (torch.optim.Adagrad, {"fused": True}),
    "Adadelta": (torch.optim.Adadelta, {}),
    "Adamax": (torch.optim.Adamax, {}),
    "ASGD": (torch.optim.ASGD, {}),
    "NAdam": (torch.optim.NAdam, {}),
    "RAdam": (torch.optim.RAdam, {}),
    "RMSprop": (torch.optim.RMSprop, {}),
    "Rprop": (torch.optim.Rprop, {}),
    "LBFGS": (torch.optim.LBFGS, {"max_iter": 2}),
}


def _optimise(optimizer, options):
    def run(net, x):
        passed(net, x)
        train = optimizer(net.parameters(), lr=0.01, **options)
        for parameter in net.parameters():
            parameter.grad = torch.ones_like(parameter)
        for _ in range(2):
            train.step((lambda: torch.tensor(1.0)) if optimizer is torch.optim.LBFGS else None)
        return passed(net, x)

    return run


for name, (optimizer, options) in OPTIMIZERS.items():
    row(writes=True, name=f"optimizer: {name}")(_optimise(optimizer, options))


# Modules --------------------------------------------------------------------------------------------------------------


def _double_output(module, _, output):
    return output * 2


def _double_input(module, inputs):
    return (inputs[0] * 2,)


def _patch(net):
    layer = conv(net)
    original = layer.forward
    layer.forward = lambda x: original(x) * 2


def _replace(net):
    layer = copy.deepcopy(conv(net))
    layer.weight.data.mul_(2)
    setattr(net, key(net), layer)


for title, change in {
    "forward hook": lambda net: conv(net).register_forward_hook(_double_output),
    "forward hook with kwargs": lambda net: conv(net).register_forward_hook(
        lambda module, inputs, kwargs, output: output * 2, with_kwargs=True
    ),
    "forward pre-hook": lambda net: conv(net).register_forward_pre_hook(_double_input),
    "hook of the net": lambda net: net.register_forward_hook(_double_output),
    "pre-hook of the net": lambda net: net.register_forward_pre_hook(_double_input),
    "patched forward": _patch,
    "patched forward of the net": lambda net: setattr(net, "forward", lambda x: type(net).forward(net, x) * 2),
    "replaced": _replace,
    "wrapped": lambda net: setattr(net, key(net), Adapter(conv(net))),
    "every ReLU replaced": lambda net: [
        setattr(net, name, nn.Softplus()) for name, module in [*net.named_children()] if isinstance(module, RECTIFIERS)
    ],
    "hook of every ReLU": lambda net: [
        module.register_forward_hook(_double_output) for module in net.modules() if isinstance(module, RECTIFIERS)
    ],
    "parametrize": lambda net: parametrize.register_parametrization(conv(net), "weight", Halved()),
    "prune": lambda net: prune.l1_unstructured(conv(net), "weight", amount=0.5),
    "prune, made permanent": lambda net: prune.remove(prune.l1_unstructured(conv(net), "weight", amount=0.5), "weight"),
}.items():
    row(writes=True, name=f"module: {title}")(after(change))
row(writes=True, nets=("SR-FCN",), name="module: stride")(after(lambda net: setattr(conv(net), "stride", (2, 2))))
row(name="module: weight_norm")(after(lambda net: parametrizations.weight_norm(conv(net))))
row(writes=True, name="module: spectral_norm")(after(lambda net: parametrizations.spectral_norm(conv(net))))
row(name="module: a hook that goes")(after(lambda net: conv(net).register_forward_hook(_double_output).remove()))
row(writes=True, nets=("CNN+D", "mixed"), name="module: pooling's size")(
    after(lambda net: setattr(pool(net), "ceil_mode", False) or setattr(pool(net), "padding", (1, 1)))
)
row(writes=True, nets=("xception",), name="module: one in train()")(after(lambda net: norm(net).train()))
row(writes=True, nets=("xception",), name="module: eps")(after(lambda net: setattr(norm(net), "eps", 2.0)))


@row(writes=True)
def a_class_that_is_patched(net, x):
    passed(net, x)
    original = nn.Conv2d.forward
    nn.Conv2d.forward = lambda self, x: original(self, x) * 2
    try:
        return passed(net, x)
    finally:
        nn.Conv2d.forward = original


@row()
def hooks_of_all_modules(net, x):
    passed(net, x)
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    try:
        return passed(net, x), [name for name in seen if name != type(net).__name__]
    finally:
        handle.remove()


@row(raises=True)
def a_layer_that_is_deleted(net, x):
    passed(net, x)
    delattr(net, key(net))
    return passed(net, x)


@row(writes=True)
def a_graph_that_is_rewritten(net, x):
    passed(net, x)
    (output,) = (node for node in net.graph.nodes if node.op == "output")
    with net.graph.inserting_before(output):
        doubled = net.graph.call_function(torch.mul, (output.args[0], 2))
    output.args = (doubled,)
    net.recompile()
    return passed(net, x)


@row()
def quantize_dynamic(net, x):
    from torch.ao import quantization

    passed(net, x)
    return passed(quantization.quantize_dynamic(net, {nn.Linear}), x)


# Types, places, modes -------------------------------------------------------------------------------------------------

row(name="type: double")(lambda net, x: (passed(net, x), passed(net.double(), x.double())))
row(nets=("CNN+D", "SR-FCN", "xception"), name="type: bfloat16")(
    lambda net, x: (passed(net, x), passed(net.bfloat16(), x.bfloat16()).float())
)
row(name="type: double and back")(lambda net, x: (passed(net, x), passed(net.double().float(), x)))
row(name="place: meta")(lambda net, x: (passed(net, x), passed(net.to("meta"), x.to("meta")).shape))
row(name="input: not contiguous")(
    lambda net, x: (passed(net, x), passed(net, x.transpose(2, 3).flip(2).transpose(2, 3)))
)
row(name="input: channels last")(lambda net, x: passed(net, x.contiguous(memory_format=torch.channels_last)))
row(name="input: expanded")(lambda net, x: passed(net, x[:1].expand(3, -1, -1, -1)))
row(name="input: lazily negated")(lambda net, x: passed(net, torch.complex(x, x).conj().imag))
row(name="input: a Parameter")(lambda net, x: passed(net, nn.Parameter(x)))
row(name="input: no image")(lambda net, x: passed(net, x[:0]))
row(raises=True, name="input: of another type")(lambda net, x: (passed(net, x), passed(net, x.double())))


@row()
def autocast(net, x):
    passed(net, x)
    with torch.autocast("cpu"):
        return passed(net, x).float()


@row()
def another_default_type(net, x):
    torch.set_default_dtype(torch.float64)
    try:
        return passed(net, x)
    finally:
        torch.set_default_dtype(torch.float32)


@row()
def inference_mode(net, x):
    with torch.inference_mode():
        first = net(x)
    return first, passed(net, x)


@row()
def function_mode(net, x):
    seen = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.append(getattr(function, "__name__", ""))
            return function(*args, **(kwargs or {}))

    passed(net, x)
    with Mode():
        y = passed(net, x)
    return y, [name for name in seen if name == "conv2d"]


@row()
def flop_counter(net, x):
    from torch.utils.flop_counter import FlopCounterMode

    passed(net, x)
    with FlopCounterMode(display=False) as counter:
        passed(net, x)
    return counter.get_total_flops()


@row()
def profiler(net, x):
    passed(net, x)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        passed(net, x)
    return [event.count for event in profile.key_averages() if event.key == "aten::conv2d"]


@row()
def fake_tensors(net, x):
    from torch._subclasses import FakeTensorMode

    passed(net, x)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        return passed(net, mode.from_tensor(x)).shape


@row()
def forward_gradients(net, x):
    from torch.autograd import forward_ad

    passed(net, x)
    with forward_ad.dual_level():
        primal, tangent = forward_ad.unpack_dual(passed(net, forward_ad.make_dual(x, torch.ones_like(x))))
    return primal, tangent


# Transforms -----------------------------------------------------------------------------------------------------------


@row()
def vmap(net, x):
    passed(net, x)
    with torch.no_grad():
        return torch.func.vmap(net)(torch.stack([x, x * 2]))


@row(writes=True)
def functional_call(net, x):
    passed(net, x)
    weights = {name: value.detach() * 1.1 for name, value in net.named_parameters()}
    with torch.no_grad():
        return torch.func.functional_call(net, weights, x), passed(net, x)


@row()
def vmap_over_an_ensemble(net, x):
    passed(net, x)
    weights = {name: torch.stack([value.detach(), value.detach() * 1.1]) for name, value in net.named_parameters()}
    with torch.no_grad():
        return torch.func.vmap(lambda w: torch.func.functional_call(net, w, x))(weights)


@row()
def jit_trace(net, x):
    passed(net, x)
    with torch.no_grad():
        return torch.jit.trace(net, x, check_trace=False)(x * 2)


@row()
def symbolic_trace(net, x):
    passed(net, x)
    return passed(torch.fx.symbolic_trace(net), x)


@row()
def export(net, x):
    passed(net, x)
    return torch.export.export(net, (x,)).module()(x).detach()


@row()
def compile_and_run(net, x):
    passed(net, x)
    torch._dynamo.reset()
    return passed(torch.compile(net, backend="aot_eager", fullgraph=True), x)


# Copies, processes, threads -------------------------------------------------------------------------------------------


def _changed(net):
    conv(net).weight.data.mul_(2)
    return net


row(writes=True, name="copy: deepcopy")(lambda net, x: (passed(_changed(copy.deepcopy(net)), x), passed(net, x)))
row(writes=True, name="copy: copy")(
    lambda net, x: (passed(net, x), passed(_changed(copy.copy(net)), x), passed(net, x))[1:]
)
row(writes=True, name="copy: pickle")(
    lambda net, x: (passed(net, x), passed(_changed(pickle.loads(pickle.dumps(net))), x), passed(net, x))[1:]
)


@row(writes=True)
def torch_save(net, x):
    passed(net, x)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return passed(_changed(torch.load(file, weights_only=False)), x), passed(net, x)


def _send(net, x, queue):
    queue.put(passed(_changed(net), x).numpy())


@row(writes=True)
def a_forked_process(net, x):
    passed(net, x)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_send, args=(net, x, queue))
    child.start()
    result = torch.from_numpy(queue.get())
    child.join()
    return result, passed(net, x)


@row(writes=True, nets=("mixed",), slow=True)
def a_spawned_process(net, x):
    passed(net, x)
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    child = context.Process(target=_send, args=(net, x, queue))
    child.start()
    result = torch.from_numpy(queue.get())
    child.join()
    return result, passed(net, x)


class Passes(torch.utils.data.Dataset):
    """A data set of what a net answers."""

    def __init__(self, net, x):
        self.net, self.x = net, x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return passed(self.net, self.x[index : index + 1])


@row()
def workers_of_a_data_loader(net, x):
    passed(net, x)
    return [*torch.utils.data.DataLoader(Passes(net, x), batch_size=None, num_workers=1)]


@row()
def threads_with_a_writer(net, x):
    """One net in four threads, then again after a write."""
    results = []
    for factor in (1, 2):
        conv(net).weight.data.mul_(factor)
        threads = [threading.Thread(target=lambda: results.append(passed(net, x))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return tuple(results)


# What weights look like -----------------------------------------------------------------------------------------------


@row()
def memory_format(net, x):
    passed(net, x)
    return [(value.stride(), value.is_contiguous()) for value in tensors(net)]


@row()
def parameters_to_vector(net, x):
    passed(net, x)
    return torch.nn.utils.parameters_to_vector(net.parameters()).detach()


@row()
def safetensors(net, x, folder):
    from safetensors.torch import load_model, save_model

    passed(net, x)
    save_model(net, folder / "net.safetensors")
    _changed(net)
    load_model(net, folder / "net.safetensors")
    return passed(net, x)
