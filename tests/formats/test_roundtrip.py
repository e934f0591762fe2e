"""Every message comes back as it was: through text, through binary, and through protobuf's own parser."""

import random
import struct

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor as F

from caffe_compat.formats.extras import repeated, required
from caffe_compat.formats.files import format_text, parse_text, plain, read_binary, write_binary
from caffe_compat.schema import caffe_pb2

NAMES = list(caffe_pb2.DESCRIPTOR.message_types_by_name)
EDGES = {
    F.TYPE_INT32: [0, 1, -1, 2**31 - 1, -(2**31)],
    F.TYPE_INT64: [0, 1, -1, 2**63 - 1, -(2**63)],
    F.TYPE_UINT32: [0, 1, 2**32 - 1],
    F.TYPE_BOOL: [True, False],
    F.TYPE_STRING: ["", "a", "quo\"te's", "line\nbreak\ttab\0nul", "größe 深い 🙂", "\\x41", "\u2028\x7f\x85"],
    F.TYPE_BYTES: [b"", b"\xff\0a\\'\""],
}


def value(field, rng):
    if field.type == F.TYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    if field.type in (F.TYPE_FLOAT, F.TYPE_DOUBLE):
        form = "f" if field.type == F.TYPE_FLOAT else "d"
        drawn = struct.unpack(form, rng.randbytes(struct.calcsize(form)))[0]
        return rng.choice([0.0, 1.0, -0.5, 1e-8, 0.1, float("inf"), 1e10, drawn if drawn == drawn else -float("inf")])
    return rng.choice(EDGES[field.type])


def filled(message, rng, depth=0):
    for field in message.DESCRIPTOR.fields:
        if not required(field) and rng.random() < (0.6 if depth < 1 else 0.85):
            continue
        if field.message_type is not None:
            if depth < 4:
                for _ in range(rng.randint(1, 2) if repeated(field) else 1):
                    part = getattr(message, field.name)
                    filled(part.add() if repeated(field) else part, rng, depth + 1)
                    if not repeated(field):
                        part.SetInParent()
        elif repeated(field):
            getattr(message, field.name).extend(value(field, rng) for _ in range(rng.randint(1, 3)))
        else:
            setattr(message, field.name, value(field, rng))
    return message


def no_values(message):
    """A blob whose shape does not fit its values is refused when it is read; here it has none."""
    if message.DESCRIPTOR.name == "BlobProto":
        for name in ("data", "diff", "double_data", "double_diff"):
            message.ClearField(name)
    for field, inner in message.ListFields():
        if field.message_type is not None:
            for part in inner if repeated(field) else [inner]:
                no_values(part)


@pytest.mark.parametrize("name", NAMES)
def test_every_message_survives_a_round_trip_through_text(name):
    cls = getattr(caffe_pb2, name)
    rng = random.Random(name)
    for _ in range(6):
        message = filled(cls(), rng)
        text = format_text(message)
        assert plain(parse_text(text, cls)) == message
        assert text_format.Parse(text, cls()) == message
        assert plain(parse_text(text_format.MessageToString(message), cls)) == message
        assert plain(parse_text(text_format.MessageToString(message, as_one_line=True), cls)) == message


@pytest.mark.parametrize("name", NAMES)
def test_every_message_survives_a_round_trip_through_binary(name, tmp_path):
    cls = getattr(caffe_pb2, name)
    rng = random.Random(name)
    for _ in range(6):
        message = filled(cls(), rng)
        no_values(message)
        content = message.SerializeToString()
        (tmp_path / "m").write_bytes(content)
        if content:
            again, store = read_binary(tmp_path / "m", cls)
            assert plain(again) == message
            write_binary(again, tmp_path / "again", store)
            assert (tmp_path / "again").read_bytes() == content
