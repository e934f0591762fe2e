"""Damage: bytes, words and structure of files, decided by a generator alone."""

import contextlib
import random
from pathlib import Path

import h5py
import numpy as np
from google.protobuf.message import Message

NUMBERS = (
    0, 1, 2, 3, 7, -1, -2, 255, 65536, 10**9, 2**31 - 1, 2**31, 2**32 - 1, -(2**31), 2**63 - 1, -(2**63), 2**64 - 1,
)  # fmt: skip
REALS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"), 0.5)
STRINGS = (
    "",
    "data",
    "x",
    "nowhere",
    "ReLU",
    "Pooling",
    "Concat",
    "Data",
    "constant",
    "msra",
    "a.b/c",
    "in",
    "forward",
)
WORDS = (
    '"', "'", "\\", "{", "}", "<", ">", "[", "]", ":", ";", ",", "#", "-", "\n", "\0", "9" * 40, "0x", "1e999", "nan", "é", "\ud800",
    "layer {", "layers {", "layer", "top:", "bottom:", '"data"', '"x"', "dim: 1000000000", "num_output: 2147483647", "kernel_size: 0",
    "input_dim: 2147483647", "TRAIN", "include { phase: TEST }", "param { name: 'w' share_mode: PERMISSIVE }", "loss_weight: nan",
    "propagate_down: true", "group: 0", "axis: -9", "blobs { shape { dim: 2147483647 } data: 1 }", "weight_filler { type: 'msra' }",
)  # fmt: skip


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return bytes with some changed, taken out, put in or doubled; at times only the beginning."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        place = rng.randrange(len(data)) if data else 0
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 1 and data:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del data[place : place + rng.randint(1, 16)]
        elif kind == 3:
            data[place:place] = rng.randbytes(rng.randint(1, 12))
        elif kind == 4:
            data[place:place] = data[place : place + rng.randint(1, 64)]
        else:
            data[place:place] = b"\xff" * rng.randint(1, 10)
    return bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.1 else data)


def damaged_text(text: str, rng: random.Random) -> str:
    """Return text whose words changed places, were replaced, doubled or taken out."""
    words = text.split(" ")
    for _ in range(rng.randint(1, 6)):
        i, kind = rng.randrange(len(words)), rng.randrange(5)
        if kind == 0:
            words[i] = rng.choice(WORDS)
        elif kind == 1 and len(words) > 1:
            del words[i]
        elif kind == 2:
            words.insert(i, rng.choice(WORDS))
        elif kind == 3:
            j = rng.randrange(len(words))
            words[i], words[j] = words[j], words[i]
        else:
            words[i:i] = words[i : i + rng.randint(1, 60)]
    return " ".join(words)


def extreme_text(text: str, rng: random.Random) -> str:
    """Return text with something of it beyond measure: nesting, a name, a number, a list, a comment."""
    many = rng.choice((100, 3000, 50000))
    extremes = (
        lambda: "layer { " * many,
        lambda: "own_param { a: " + "[" * many,
        lambda: "layer { a < " * many + " > }" * many,
        lambda: f'name: "{"n" * many * 4}"',
        lambda: "x" * many * 4,
        lambda: "name: " + '"a" ' * many,
        lambda: f"input_dim: {'9' * many}",
        lambda: "input_dim: [" + "1, " * many + "1]",
        lambda: "#" * many * 4,
        lambda: f'name: "{chr(92)}{"x41" * many}"',
        lambda: "layer { } " * min(many, 3000),
        lambda: "name: '" + "\\" * (many + 1) + "'",
        lambda: "loss_weight: " + "0." + "1" * many,
    )
    place = rng.choice((0, len(text), rng.randrange(len(text) + 1)))
    return text[:place] + rng.choice(extremes)() + "\n" + text[place:]


def damaged_message(message: Message, rng: random.Random) -> Message:
    """Return the message with fields of any depth set to other values of their type, taken out, doubled or moved."""
    out = type(message)()
    out.CopyFrom(message)
    for _ in range(rng.randint(1, 4)):
        _damage_once(out, rng)
    return out


def _damage_once(message: Message, rng: random.Random) -> None:
    parts = [message, *_parts(message)]
    part = rng.choice(parts)
    present = [field for field, _ in part.ListFields()]
    fields = present if present and rng.random() < 0.7 else part.DESCRIPTOR.fields
    field = rng.choice(list(fields))
    if rng.random() < 0.2 and field in present:
        part.ClearField(field.name)
    elif field.is_repeated:
        _damage_list(getattr(part, field.name), field, rng)
    elif field.message_type is None:
        setattr(part, field.name, _value(field, rng))
    else:
        alike = [p for p in parts if p.DESCRIPTOR is field.message_type and p is not part]
        getattr(part, field.name).MergeFrom(rng.choice(alike)) if alike else getattr(part, field.name).SetInParent()


def _damage_list(values, field, rng: random.Random) -> None:
    kind = rng.randrange(4)
    if kind == 0 and len(values):
        del values[rng.randrange(len(values))]
    elif kind == 1 and len(values) > 1:
        i, j = sorted(rng.sample(range(len(values)), 2))
        swapped = list(values)
        swapped[i], swapped[j] = swapped[j], swapped[i]
        swapped = [type(v).FromString(v.SerializeToString()) for v in swapped] if field.message_type else swapped
        del values[:]
        values.extend(swapped)
    elif field.message_type is not None:
        copied = values.add()
        if len(values) > 1:
            copied.CopyFrom(values[rng.randrange(len(values) - 1)])
    elif kind == 2 and len(values):
        values[rng.randrange(len(values))] = _value(field, rng)
    else:
        values.extend([_value(field, rng)] * rng.choice((1, 1, 3, 40)))


def _parts(message: Message) -> list[Message]:
    parts: list[Message] = []
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else (value,):
                parts += [part, *_parts(part)]
    return parts


def _value(field, rng: random.Random):
    if field.enum_type is not None:
        return rng.choice(field.enum_type.values).number
    kind = field.cpp_type
    if kind == field.CPPTYPE_STRING:
        text = rng.choice(STRINGS)
        return text.encode() if field.type == field.TYPE_BYTES else text
    if kind == field.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice(REALS)
    low, high = {
        field.CPPTYPE_INT32: (-(2**31), 2**31 - 1), field.CPPTYPE_UINT32: (0, 2**32 - 1),
        field.CPPTYPE_INT64: (-(2**63), 2**63 - 1), field.CPPTYPE_UINT64: (0, 2**64 - 1),
    }[kind]  # fmt: skip
    return rng.choice([n for n in (*NUMBERS, rng.randint(0, 12)) if low <= n <= high])


def damaged_hdf5(path: Path, rng: random.Random) -> None:
    """Change the structure of an HDF5 file: another shape, type or kind of object, missing or looping links."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for _ in range(rng.randint(1, 3)):
            name, kind = rng.choice(names), rng.randrange(8)
            # what an earlier change removed the place of
            with contextlib.suppress(KeyError, OSError, RuntimeError, ValueError):
                _damage_object(file, name, kind, path.name, rng)


def _damage_object(file: h5py.File, name: str, kind: int, own: str, rng: random.Random) -> None:
    if kind < 7:
        del file[name]
    if kind == 1:
        shape = rng.choice(((2**40,), (0,), (2**20, 2**20), (1,) * 32, (3, 0, 2), ()))
        file.create_dataset(
            name, shape, rng.choice(("f4", "f8", "i4", "u1")), chunks=(1,) if shape == (2**40,) else None
        )
    elif kind == 2:
        file[name] = rng.choice((np.float16([1, 2]), np.bytes_(b"x" * 9), np.array([b"a", b"b"]), np.array([1 + 2j])))
    elif kind == 3:
        file[name] = h5py.SoftLink(rng.choice(("/", "/data", "/" + name, "/nowhere")))
    elif kind == 4:
        file[name] = h5py.ExternalLink(rng.choice(("nowhere.h5", own)), "/")
    elif kind == 5:
        file.create_group(name)
    elif kind == 6:
        file.create_dataset(name, data=np.zeros(2**16), compression="gzip")
    else:
        file.create_group(name.rpartition("/")[0] + "/" + rng.choice(("-1", "99999999999", "x", "7", "é")))
