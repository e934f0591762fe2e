"""Our caffe.proto declares what Caffe's own declares, and both can be imported together."""

import json

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor as F

from caffe_compat.formats.extras import MARK_NUMBER, repeated, required
from caffe_compat.schema import caffe_pb2

SCALARS = {
    F.TYPE_DOUBLE: "double",
    F.TYPE_FLOAT: "float",
    F.TYPE_INT64: "int64",
    F.TYPE_INT32: "int32",
    F.TYPE_UINT32: "uint32",
    F.TYPE_BOOL: "bool",
    F.TYPE_STRING: "string",
    F.TYPE_BYTES: "bytes",
}


@pytest.fixture(scope="module")
def recorded():
    from tests.conftest import ROOT

    return json.loads((ROOT / "tests/golden/files/schema.json").read_text())


def described(field):
    """One field in the words of the recording."""
    if field.type in SCALARS:
        kind = SCALARS[field.type]
    else:
        kind = (field.message_type or field.enum_type).full_name.removeprefix("caffe_compat.")
    label = "repeated" if repeated(field) else "required" if required(field) else "optional"
    out = {"name": field.name, "number": field.number, "label": label, "type": kind}
    packed = field.GetOptions().packed
    if packed:
        out["packed"] = True
    return out


def default(field):
    """An explicit default in the words of the recording, or None."""
    if not field.has_default_value:
        return None
    value = field.default_value
    if field.type == F.TYPE_ENUM:
        return field.enum_type.values_by_number[value].name
    if field.type == F.TYPE_BOOL:
        return "true" if value else "false"
    return value


def enums(kinds):
    return {kind.name: {value.name: value.number for value in kind.values} for kind in kinds}


def test_every_message_has_the_recorded_fields_in_the_recorded_order(recorded):
    messages = caffe_pb2.DESCRIPTOR.message_types_by_name
    assert list(messages) == list(recorded["messages"])
    for name, message in messages.items():
        expected = [{k: v for k, v in f.items() if k != "default"} for f in recorded["messages"][name]["fields"]]
        assert [described(f) for f in message.fields] == expected, name


def test_every_default_equals_the_recorded_default(recorded):
    count = 0
    for name, message in caffe_pb2.DESCRIPTOR.message_types_by_name.items():
        for field, expected in zip(message.fields, recorded["messages"][name]["fields"], strict=True):
            value = default(field)
            if "default" not in expected:
                assert value is None, (name, field.name)
            elif isinstance(value, str):
                assert value == expected["default"], (name, field.name)
            else:
                assert value == pytest.approx(float(expected["default"]), rel=1e-7), (name, field.name)
            count += value is not None
    assert count == 185


def test_every_enum_has_the_recorded_identifiers(recorded):
    assert enums(caffe_pb2.DESCRIPTOR.enum_types_by_name.values()) == recorded["enums"]
    for name, message in caffe_pb2.DESCRIPTOR.message_types_by_name.items():
        assert enums(message.enum_types) == recorded["messages"][name]["enums"], name


def test_no_message_uses_the_number_of_marks():
    messages = caffe_pb2.DESCRIPTOR.message_types_by_name.values()
    assert messages
    for message in messages:
        assert MARK_NUMBER not in message.fields_by_number


def test_messages_of_package_caffe_can_be_loaded_in_the_same_process():
    file = descriptor_pb2.FileDescriptorProto()
    caffe_pb2.DESCRIPTOR.CopyToProto(file)

    file.name, file.package = "caffe.proto", "caffe"
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(".caffe_compat.", ".caffe.")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    other = message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))

    net = caffe_pb2.NetParameter(name="both")
    net.layer.add(name="conv1", type="Convolution").convolution_param.num_output = 3
    theirs = other.FromString(net.SerializeToString())
    assert theirs.DESCRIPTOR.full_name == "caffe.NetParameter"
    assert theirs.layer[0].convolution_param.num_output == 3
    assert caffe_pb2.NetParameter.FromString(theirs.SerializeToString()) == net
