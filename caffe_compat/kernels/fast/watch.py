"""See in microseconds whether a pass can run compiled, and whether anything has changed that it relies on (watch.c).

A weight that a program has copied is guarded: its storage becomes copy-on-write. Whatever writes to it then, be
it an operator, an optimizer, a view or ``.numpy()`` that takes a pointer, first moves the weight to other memory, so
that its address tells. What cannot be guarded is hashed.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from caffe_compat.kernels.fast import library
from caffe_compat.kernels.fast.library import COffsets, CWatch
from caffe_compat.runtime.tensors import PLAIN_KEYS, States, is_plain

Tensor = torch.Tensor
_C = torch._C
# Private names, tried with torch 2.13.
_data_address: Any = getattr(_C, "_data_address", None)
_use_count: Any = getattr(_C, "_storage_Use_Count", None)
_lazy_clone: Any = getattr(torch, "_lazy_clone", None)
_is_lazy: Any = getattr(_C, "_is_cow_tensor", None)

WORDS = 24
"""Of a TensorImpl that are searched."""
PIECE = 1 << 18
"""Bytes that are hashed in one piece."""
TYPE = (1 << 40) - 1
"""The bits of a TensorImpl's word that are the values' type and device; flags of their order follow."""
VERSION = 24
"""The offset in a dict of the number of its last change, as in CPython up to 3.12."""


@functools.cache
def offsets() -> COffsets | None:
    """Return the offsets in tensors of the fields that a watch reads, or None for a torch with another layout."""
    if None in (_data_address, _use_count, _lazy_clone, _is_lazy) or len(PLAIN_KEYS) != 2:
        return None
    sizes, strides, offset = (11, 13, 17), (1009, 31, 2), (23,)
    x = torch.empty(20000, dtype=torch.float32, device="cpu").as_strided(sizes, strides, *offset)
    storage = x.untyped_storage()._cdata
    try:
        words, of_integers = _words(x._cdata, WORDS), _words(x.view(torch.int32)._cdata, WORDS)
        first, last = _index(words, sizes), _index(words, offset)
        type_ = next(i for i in range(last, WORDS) if words[i] != of_integers[i])
        if not first < _index(words, strides) < last < type_:
            return None
        places = [_index(_words(id(x), 5), (x._cdata,)), _index(words, (storage,)), first, type_ + 1]
        places += [
            next(i for i in range(WORDS) if words[i] in PLAIN_KEYS),
            _index(_words(storage, 6), (_data_address(x),)),
        ]
    except (ValueError, StopIteration):
        return None
    at = COffsets(*(8 * place for place in places))
    alike = [x, x[0, 0, 0], x.contiguous(), x[None].contiguous(memory_format=torch.channels_last)]
    others = [x.double(), x.half(), x.view(torch.int32), torch.empty(0, device="meta")]
    types = [{_type(at, each) for each in tensors} for tensors in (alike, others)]
    return at if len(types[0]) == 1 and types[0].isdisjoint(types[1]) else None


def _type(at: COffsets, x: Tensor) -> int:
    return _words(x._cdata + at.end - 8, 1)[0] & TYPE


@functools.cache
def version() -> int:
    """Return VERSION if dicts have that number there, or 0."""
    owner = torch.nn.ReLU()
    plain: dict[str, int] = {}
    changes_of_owner: list[Callable[[], object]] = [
        lambda: setattr(owner, "x", 1),
        lambda: setattr(owner, "x", 2),
        lambda: delattr(owner, "x"),
    ]
    changes_of_plain: list[Callable[[], object]] = [lambda: plain.update(x=1), lambda: plain.update(x=2), plain.clear]
    for table, changes in ((vars(owner), changes_of_owner), (plain, changes_of_plain)):
        for change in changes:
            before = _words(id(table) + VERSION, 1)
            looked_up = _words(id(table) + VERSION, 1) if table.get("x") != table else []
            change()
            if looked_up != before or before == _words(id(table) + VERSION, 1):
                return 0
    return VERSION


def _words(address: int, count: int) -> list[int]:
    return list((ctypes.c_uint64 * count).from_address(address))


def _index(words: Sequence[int], part: Sequence[int]) -> int:
    """Return where `part` begins in `words`."""
    return next(i for i in range(len(words)) if tuple(words[i : i + len(part)]) == tuple(part))


@dataclass(frozen=True)
class Relied:
    """The state that compiled passes rely on; each pass takes `inputs` tensors."""

    states: States
    """Functions without side effects, their arguments, and the object that each must return."""
    inputs: int
    owners: Sequence[object]
    """Objects whose class and ``__dict__`` must have the same objects."""
    tables: Sequence[Mapping[Any, Any]]
    """Dicts that must, too."""
    attributes: Sequence[tuple[object, str]]
    """Objects and names of attributes that must be the same objects."""
    weights: Sequence[Tensor]
    """Tensors that must be in the same memory, in the same order."""


class Snapshot:
    """All that compiled passes rely on, as it is when this is made."""

    def __init__(self, relied: Relied) -> None:
        at = offsets()
        self._relied, self._memory = relied, list[Any]()
        self._places = [*map(_place, relied.weights)] if at is None else None
        self._watch = CWatch(COffsets() if at is None else at)
        self._watch.at.version = version()
        self._watch.inputs = relied.inputs
        self._set_objects("states", state=[f for f, _, _ in relied.states], arguments=[a for _, a, _ in relied.states])
        self._set_objects("states", answer=[answer for _, _, answer in relied.states])
        dicts = [*map(vars, relied.owners), *relied.tables]
        self._set_objects("tables", table=dicts)
        self._set_objects("owners", owner=relied.owners, class_=[*map(type, relied.owners)])
        self._watch.tables -= self._watch.owners
        self._set("value", ctypes.c_void_p, self._keep([v for table in dicts for v in table.values()]))
        self._set("size", ctypes.c_long, [*map(len, dicts)])
        self._set("version", ctypes.c_uint64, [_words(id(table) + VERSION, 1)[0] for table in dicts if version()])
        holders, names = [holder for holder, _ in relied.attributes], [name for _, name in relied.attributes]
        values = [getattr(holder, name, None) for holder, name in relied.attributes]
        self._set_objects("attributes", holder=holders, name=names, attribute=values)
        if at is not None:
            self._look_into_tensors(at)
        self._address = ctypes.addressof(self._watch)

    def _look_into_tensors(self, at: COffsets) -> None:
        weights, kinds = self._relied.weights, [Tensor, torch.nn.Parameter]
        self._watch.tensor, self._watch.parameter = map(id, kinds)
        self._watch.mask, self._watch.type = TYPE, _type(at, torch.empty(0, dtype=torch.float32, device="cpu"))
        self._watch.keys[:] = PLAIN_KEYS
        self._set_objects("weights", weight=weights)
        places = [place for x in weights for place in (x.untyped_storage()._cdata, _data_address(x))]
        self._set("address", ctypes.c_void_p, places)
        forms = b"".join(ctypes.string_at(x._cdata + at.first, at.end - at.first) for x in weights)
        self._set("form", ctypes.c_char, [*forms])

    def _set_objects(self, count: str, **objects: Sequence[object]) -> None:
        for name, values in objects.items():
            self._set(name, ctypes.c_void_p, self._keep(values))
            setattr(self._watch, count, len(values))

    def _set(self, name: str, kind: Any, values: Sequence[int]) -> None:
        array = (kind * len(values))(*values)
        self._memory.append(array)
        setattr(self._watch, name, ctypes.addressof(array))

    def _keep(self, values: Sequence[object]) -> list[int]:
        self._memory.append(values)
        return [*map(id, values)]

    def holds(self) -> bool:
        """Tell whether all is as it was, the state of torch aside."""
        if self._places is not None and [*map(_place, self._relied.weights)] != self._places:
            return False
        return bool(library.native().unchanged(self._address))

    def ready(self) -> Callable[[tuple[Any, ...]], bool]:
        """Return a function that tells of inputs whether a pass can run on them now, and all is as it was."""
        if self._places is None:
            return functools.partial(library.native().ready, self._address)
        return self._is_ready

    def _is_ready(self, inputs: tuple[Any, ...]) -> bool:
        if len(inputs) != self._relied.inputs or not all(map(is_plain, inputs)):
            return False
        return all(state(*args) is answer for state, args, answer in self._relied.states) and self.holds()


def _place(weight: Tensor) -> tuple[Any, ...]:
    return id(weight), weight.data_ptr(), weight.shape, weight.stride(), weight.dtype


def address(x: Tensor) -> int:
    """Return where the values of a tensor begin, for reading alone: a guard stays where it is."""
    if offsets() is None:
        return x.data_ptr()
    return int(_data_address(x)) + int(x.storage_offset()) * x.element_size()


def guard(x: Tensor) -> Tensor | None:
    """Make the storage of a tensor copy-on-write; return a clone that keeps its values, or None if it cannot be."""
    try:
        with torch.no_grad(), torch.inference_mode(x.is_inference()):
            clone: Tensor = _lazy_clone(x.detach())
    except RuntimeError:  # memory that is not torch's own: an array's, a file's, another process's
        return None
    return clone if _is_lazy(x) else None


def is_guarded(x: Tensor, clone: Tensor) -> bool:
    """Tell whether nothing has taken a writable pointer to a guarded tensor."""
    return bool(_data_address(x) == _data_address(clone))


def is_shared(x: Tensor, own: int) -> bool:
    """Tell whether more than `own` tensors share the storage of one: arrays may, and those write unseen."""
    return bool(_use_count(x.untyped_storage()._cdata) > own + 1)  # the count itself refers to it, too


class Hashes:
    """64 bits for every piece of the values of some tensors; what is between the values counts.

    The tensors must stay in place while these are in use.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.forms = [(x.shape, x.stride()) for x in tensors]
        places = [(address(x), _span(x)) for x in tensors]
        pieces = [(at + i, min(size - i, PIECE)) for at, size in places for i in range(0, size, PIECE)]
        self._pieces = (ctypes.c_void_p * len(pieces))(*(at for at, _ in pieces))
        self._sizes = (ctypes.c_size_t * len(pieces))(*(size for _, size in pieces))
        self._kept, self.first = tensors, self.now()

    def now(self) -> bytes:
        """Return the hashes of the values as they are."""
        hashes = (ctypes.c_uint64 * len(self._pieces))()
        library.hash_memory(self._pieces, self._sizes, hashes, torch.get_num_threads())
        return bytes(hashes)

    def hold(self) -> bool:
        """Tell whether the values are those that these were made for."""
        return self.now() == self.first


def _span(x: Tensor) -> int:
    """Return the bytes from the first value to the last."""
    if not x.numel():
        return 0
    last = sum((n - 1) * int(s) for n, s in zip(x.shape, x.stride(), strict=True))
    return (1 + last) * x.element_size()


def has_values(x: Tensor, clone: Tensor) -> bool:
    """Tell whether a tensor has the form and the bits that its clone keeps: NaN is like itself, 0 is not like -0."""
    if (x.shape, x.stride(), x.storage_offset()) != (clone.shape, clone.stride(), clone.storage_offset()):
        return False
    return is_guarded(x, clone) or torch.equal(x.detach().view(torch.int32), clone.view(torch.int32))
