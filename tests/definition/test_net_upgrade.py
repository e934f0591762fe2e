"""Nets of every age become current ones as Caffe makes them."""

import numpy as np
import pytest

from caffe_compat.definition import upgrade, v0
from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.errors import ProblemsError
from caffe_compat.formats.files import (
    BlobStore,
    Where,
    all_unknown_fields,
    format_text,
    parse_text,
    plain,
    read_binary,
    same,
    unknown_fields,
    where,
    write_binary,
)
from caffe_compat.layers import REGISTRY
from caffe_compat.schema.caffe_pb2 import LayerParameter, NetParameter, V0LayerParameter, V1LayerParameter
from caffe_compat.schema.old_names import V0_FIELDS, V0_TRANSFORMATIONS, V0_TYPES, V1_TYPES
from tests.refusals import refused


def net(text):
    return parse_text(text, NetParameter, file="old.prototxt")


def is_unchanged(step, message):
    return step(message) == message


def becomes(step, before, after):
    """Whether a step makes one net of another, and leaves its argument as it was."""
    old = net(before)
    kept = NetParameter()
    kept.CopyFrom(old)
    assert format_text(step(old)) == format_text(net(after))
    assert old == kept
    return True


# Padding layers.


def test_padding_is_given_to_the_convolution_and_the_pooling_it_feeds():
    assert becomes(
        v0.upgrade_v0_padding,
        """name: "n" input: "data" input_dim: [1, 3, 9, 9]
        layers { layer { name: "p1" type: "padding" pad: 2 } bottom: "data" top: "p1" }
        layers { layer { name: "c1" type: "conv" kernelsize: 5 } bottom: "p1" top: "c1" }
        layers { layer { name: "p2" type: "padding" pad: 1 } bottom: "c1" top: "p2" }
        layers { layer { name: "q2" type: "pool" pad: 7 } bottom: "p2" top: "q2" }
        layers { layer { name: "ip" type: "innerproduct" } bottom: "q2" top: "ip" }""",
        """name: "n" input: "data" input_dim: [1, 3, 9, 9]
        layers { layer { name: "c1" type: "conv" kernelsize: 5 pad: 2 } bottom: "data" top: "c1" }
        layers { layer { name: "q2" type: "pool" pad: 1 } bottom: "c1" top: "q2" }
        layers { layer { name: "ip" type: "innerproduct" } bottom: "q2" top: "ip" }""",
    )


def test_one_padding_feeds_two_layers_and_its_source_stays_for_others():
    assert becomes(
        v0.upgrade_v0_padding,
        """layers { layer { name: "d" type: "data" } top: "data" }
        layers { layer { type: "padding" pad: 3 } bottom: "data" top: "wide" }
        layers { layer { name: "a" type: "conv" } bottom: "wide" top: "a" }
        layers { layer { name: "b" type: "conv" } bottom: "wide" top: "b" }
        layers { layer { name: "c" type: "conv" } bottom: "data" top: "c" }
        layers { layer { name: "e" type: "concat" } bottom: "a" bottom: "b" bottom: "c" top: "e" }""",
        """layers { layer { name: "d" type: "data" } top: "data" }
        layers { layer { name: "a" type: "conv" pad: 3 } bottom: "data" top: "a" }
        layers { layer { name: "b" type: "conv" pad: 3 } bottom: "data" top: "b" }
        layers { layer { name: "c" type: "conv" } bottom: "data" top: "c" }
        layers { layer { name: "e" type: "concat" } bottom: "a" bottom: "b" bottom: "c" top: "e" }""",
    )


def test_a_blob_made_anew_in_place_is_padded_no_more():
    assert becomes(
        v0.upgrade_v0_padding,
        """input: "x"
        layers { layer { type: "padding" pad: 3 } bottom: "x" top: "x" }
        layers { layer { name: "a" type: "conv" } bottom: "x" top: "x" }
        layers { layer { name: "r" type: "relu" } bottom: "x" top: "x" }""",
        """input: "x"
        layers { layer { name: "a" type: "conv" pad: 3 } bottom: "x" top: "x" }
        layers { layer { name: "r" type: "relu" } bottom: "x" top: "x" }""",
    )


def test_padding_that_was_given_on_is_not_given_on_again():
    once = v0.upgrade_v0_padding(net(OLD))
    assert [layer.layer.name for layer in once.layers] == ["conv", "pool"]
    assert v0.upgrade_v0_padding(once) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            (
                'input: "d" layers { layer { type: "padding" } bottom: "d" top: "p" }\n'
                'layers { layer { name: "r" type: "relu" } bottom: "p" top: "r" }'
            ),
            ("unsupported", 2, "r", "p"),
        ),
        (
            (
                'input: "d" layers { layer { type: "padding" } bottom: "d" top: "p" }\n'
                'layers { layer { name: "c" type: "conv" } bottom: "p" bottom: "d" top: "c" }'
            ),
            ("unsupported", 2, "c", "p"),
        ),
        (
            (
                'input: "d" layers { layer { name: "w" type: "padding" } bottom: "d" top: "p" top: "q" }\n'
                'layers { layer { name: "c" type: "conv" } bottom: "p" top: "c" }'
            ),
            ("unsupported", 2, "c", "p"),
        ),
        (
            'input: "data" layers { layer { name: "c" type: "conv" } bottom: "dat" top: "c" }',
            ("name-unknown", 1, "c", "dat"),
        ),
    ],
)
def test_padding_that_cannot_be_given_on_is_an_error_that_names_the_layer(text, expected):
    code, line, layer, bottom = expected
    with refused(code, file="old.prototxt", line=line, layer=layer, field="bottom", value=bottom):
        upgrade_net(net(text))


# V0 -> V1.


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            (
                'type: "conv" num_output: 3 biasterm: false weight_filler { type: "xavier" } bias_filler { value: 1 } pad: 1 '
                "kernelsize: 3 group: 2 stride: 4"
            ),
            (
                'type: CONVOLUTION convolution_param { num_output: 3 bias_term: false weight_filler { type: "xavier" } '
                "bias_filler { value: 1 } pad: 1 kernel_size: 3 group: 2 stride: 4 }"
            ),
        ),
        (
            'type: "innerproduct" num_output: 3 biasterm: true weight_filler { std: 1 } bias_filler { }',
            "type: INNER_PRODUCT inner_product_param { num_output: 3 bias_term: true weight_filler { std: 1 } bias_filler { } }",
        ),
        (
            'type: "pool" pool: AVE kernelsize: 3 stride: 2 pad: 1',
            "type: POOLING pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }",
        ),
        ('type: "dropout" dropout_ratio: 0.4', "type: DROPOUT dropout_param { dropout_ratio: 0.4 }"),
        (
            'type: "lrn" local_size: 3 alpha: 2 beta: 4 k: 5',
            "type: LRN lrn_param { local_size: 3 alpha: 2 beta: 4 k: 5 }",
        ),
        (
            'type: "data" source: "s" batchsize: 2 rand_skip: 3 scale: 4 meanfile: "m" cropsize: 5 mirror: true',
            (
                'type: DATA data_param { source: "s" batch_size: 2 rand_skip: 3 } '
                'transform_param { scale: 4 mean_file: "m" crop_size: 5 mirror: true }'
            ),
        ),
        ('type: "hdf5_data" source: "s" batchsize: 2', 'type: HDF5_DATA hdf5_data_param { source: "s" batch_size: 2 }'),
        (
            'type: "images" source: "s" batchsize: 2 rand_skip: 3 shuffle_images: true new_height: 4 new_width: 5',
            (
                'type: IMAGE_DATA image_data_param { source: "s" batch_size: 2 rand_skip: 3 shuffle: true '
                "new_height: 4 new_width: 5 }"
            ),
        ),
        (
            (
                'type: "window_data" source: "s" batchsize: 2 det_fg_threshold: 0.1 det_bg_threshold: 0.2 '
                'det_fg_fraction: 0.3 det_context_pad: 4 det_crop_mode: "square"'
            ),
            (
                'type: WINDOW_DATA window_data_param { source: "s" batch_size: 2 fg_threshold: 0.1 bg_threshold: 0.2 '
                'fg_fraction: 0.3 context_pad: 4 crop_mode: "square" }'
            ),
        ),
        ('type: "infogain_loss" source: "s"', 'type: INFOGAIN_LOSS infogain_loss_param { source: "s" }'),
        ('type: "concat" concat_dim: 0', "type: CONCAT concat_param { concat_dim: 0 }"),
        (
            'type: "hdf5_output" hdf5_output_param { file_name: "f" }',
            'type: HDF5_OUTPUT hdf5_output_param { file_name: "f" }',
        ),
        (
            'type: "relu" blobs_lr: [1, 2] weight_decay: [3, 0] blobs { num: 1 data: 5 }',
            "type: RELU blobs_lr: [1, 2] weight_decay: [3, 0] blobs { num: 1 data: 5 }",
        ),
    ],
)
def test_every_parameter_of_a_v0_layer_finds_its_place(before, after):
    assert becomes(
        v0.upgrade_v0,
        f'name: "n" force_backward: true layers {{ layer {{ name: "l" {before} }} top: "t" }}',
        f'name: "n" force_backward: true layers {{ name: "l" {after} top: "t" }}',
    )


def test_no_field_of_a_v0_layer_is_forgotten():
    known = {"name", "type", "blobs", "blobs_lr", "weight_decay", "hdf5_output_param", "new_num", "new_channels"}
    known |= set(V0_FIELDS) | set(V0_TRANSFORMATIONS)
    assert known == set(V0LayerParameter.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("kind", V0_TYPES)
def test_every_v0_type_becomes_a_type_of_today(kind):
    (layer,) = upgrade_net(net(f'layers {{ layer {{ type: "{kind}" }} }}')).layer
    assert layer.type in V1_TYPES.values()


def test_all_that_a_v0_net_cannot_carry_over_is_named_at_once():
    with pytest.raises(ProblemsError) as caught:
        upgrade_net(
            net(
                """
                layers { layer { name: "a" type: "relu" num_output: 3 pool: MAX hdf5_output_param { } } }
                layers { layer { name: "b" type: "con" source: "s" } }
                layers { layer { name: "c" type: "conv" } loss_weight: 2 }
                """
            )
        )
    assert [(p.code, p.line, p.layer, p.field, p.hint) for p in caught.value.problems] == [
        ("field-unknown", 2, "a", "num_output", "a field of conv or innerproduct layers"),
        ("field-unknown", 2, "a", "pool", "a field of pool layers"),
        ("field-unknown", 2, "a", "hdf5_output_param", "a field of hdf5_output layers"),
        ("type-unknown", 3, "b", "type", "did you mean 'conv'?"),
        ("field-unknown", 4, "c", "loss_weight", None),
    ]


# Data transformation.


@pytest.mark.parametrize(
    ("kind", "param"),
    [("DATA", "data_param"), ("IMAGE_DATA", "image_data_param"), ("WINDOW_DATA", "window_data_param")],
)
def test_transformations_move_out_of_a_data_layers_own_parameters(kind, param):
    before = f'layers {{ type: {kind} {param} {{ source: "s" scale: 2 mean_file: "m" crop_size: 3 mirror: true }} }}'
    after = (
        f'layers {{ type: {kind} {param} {{ source: "s" }} '
        'transform_param { scale: 2 mean_file: "m" crop_size: 3 mirror: true } }'
    )
    assert becomes(upgrade.upgrade_data, before, after)
    assert is_unchanged(upgrade.upgrade_data, net(after))
    assert is_unchanged(upgrade.upgrade_data, net(f"layers {{ type: RELU {param} {{ scale: 2 }} }}"))
    assert is_unchanged(upgrade.upgrade_data, net(f"layers {{ {param} {{ scale: 2 }} }}"))


# V1 -> V2.


@pytest.mark.parametrize("kind", V1LayerParameter.LayerType.keys())
def test_every_v1_type_becomes_a_string(kind):
    (layer,) = upgrade_net(net(f"layers {{ type: {kind} }}")).layer
    assert layer.type == V1_TYPES[kind]
    assert layer.HasField("type")


def test_v1_types_are_spelled_as_caffe_registers_them():
    names = set(V1_TYPES.values())
    assert {"HDF5Data", "SoftmaxWithLoss", "BNLL", "MVN", "LRN", "TanH", "ReLU", "Im2col", "AbsVal", "ArgMax"} <= names
    assert len(names) == len(V1_TYPES) == 40
    assert names - set(REGISTRY) == {""}
    assert V1_TYPES["NONE"] == ""


def test_multipliers_names_and_sharing_become_params():
    assert becomes(
        upgrade.upgrade_v1,
        'layers { type: INNER_PRODUCT param: "w" blobs_lr: [1, 2] weight_decay: [3, 0, 5] '
        "blob_share_mode: PERMISSIVE loss_weight: [0.5] }",
        'layer { type: "InnerProduct" param { name: "w" lr_mult: 1 decay_mult: 3 share_mode: PERMISSIVE } '
        "param { lr_mult: 2 decay_mult: 0 } param { decay_mult: 5 } loss_weight: 0.5 }",
    )


def test_everything_else_of_a_v1_net_is_kept():
    assert becomes(
        upgrade.upgrade_v1,
        'name: "n" state { phase: TEST } debug_info: true '
        'layers { name: "l" bottom: ["a", "b"] top: "c" include { stage: "x" } exclude { phase: TRAIN } '
        "relu_param { negative_slope: 0.1 } transform_param { mirror: true } loss_param { normalize: false } "
        "blobs { num: 1 data: 3 diff: 4 } }",
        'name: "n" state { phase: TEST } debug_info: true '
        'layer { name: "l" bottom: ["a", "b"] top: "c" include { stage: "x" } exclude { phase: TRAIN } '
        "relu_param { negative_slope: 0.1 } transform_param { mirror: true } loss_param { normalize: false } "
        "blobs { num: 1 data: 3 diff: 4 } }",
    )


def test_every_field_of_a_v1_layer_has_a_place_in_v2():
    special = {"type", "param", "blob_share_mode", "blobs_lr", "weight_decay", "layer"}
    fields = [field for field in V1LayerParameter.DESCRIPTOR.fields if field.name not in special]
    assert fields
    for field in fields:
        other = LayerParameter.DESCRIPTOR.fields_by_name[field.name]
        assert (other.type, other.message_type) == (field.type, field.message_type), field.name


# Inputs.


def test_inputs_with_shapes_become_an_input_layer_that_comes_first():
    assert becomes(
        upgrade_net,
        """input: "data" input: 'label' input_dim: [1, 1, 96, 96, 1, 1, 1, 1] layer { name: "l" }""",
        """layer { name: "input" type: "Input" top: "data" top: "label"
        input_param { shape { dim: [1, 1, 96, 96] } shape { dim: [1, 1, 1, 1] } } } layer { name: "l" }""",
    )
    assert becomes(
        upgrade_net,
        'input: "a" input: "b" input_shape { dim: 3 } input_shape { dim: [4, 5] } input_dim: 7',
        'layer { name: "input" type: "Input" top: ["a", "b"] input_param { shape { dim: 3 } shape { dim: [4, 5] } } }',
    )


def test_inputs_without_shapes_are_dropped_as_in_old_weights():
    assert becomes(upgrade_net, 'input: "data" layer { name: "l" }', 'layer { name: "l" }')


@pytest.mark.parametrize(
    ("text", "code", "fields"),
    [
        ('input: "a" input: "b" input_dim: [1, 2, 3, 4]', "wrong-count", {"field": "input_dim"}),
        ('input: "a" input: "b" input_shape { dim: 1 }', "wrong-count", {"field": "input_shape"}),
        ('layer { name: "b" }\nlayers { name: "a" }', "conflict", {"file": "old.prototxt", "line": 2, "layer": "a", "field": "layers"}),
    ],
)  # fmt: skip
def test_missing_extents_and_two_forms_of_layers_are_refused(text, code, fields):
    with refused(code, **fields):
        upgrade_net(net(text))


# Batch norm.


def test_three_declared_parameters_of_batch_norm_are_frozen():
    assert becomes(
        upgrade_net,
        'layer { type: "BatchNorm" param { name: "a" lr_mult: 5 } param { } param { decay_mult: 3 } } '
        'layer { type: "BatchNorm" param { lr_mult: 5 } } layer { type: "Scale" param { } param { } param { } }',
        'layer { type: "BatchNorm" param { name: "a" lr_mult: 0 decay_mult: 0 } param { lr_mult: 0 decay_mult: 0 } '
        'param { lr_mult: 0 decay_mult: 0 } } layer { type: "BatchNorm" param { lr_mult: 5 } } '
        'layer { type: "Scale" param { } param { } param { } }',
    )


def test_frozen_batch_norm_needs_nothing_more():
    message = net('layer { type: "BatchNorm" param { name: "a" } param { } param { } }')
    assert not is_unchanged(upgrade_net, message)
    assert is_unchanged(upgrade_net, upgrade_net(message))


# All of it.

OLD = """name: "old" input: "data" input_dim: [1, 3, 8, 8]
layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "pad" }
layers { layer { name: "conv" type: "conv" num_output: 4 kernelsize: 5 blobs_lr: [1, 2] } bottom: "pad" top: "conv" }
layers { layer { name: "pool" type: "pool" pool: MEDIAN kernelsize: 2 own: 3 } bottom: "conv" top: "pool" }
fork_field { a: 1 }
"""


def test_a_v0_net_becomes_a_current_one_in_one_go():
    new = upgrade_net(net(OLD))
    assert not is_unchanged(upgrade_net, net(OLD))
    assert is_unchanged(upgrade_net, new)
    expected = """name: "old"
    layer { name: "input" type: "Input" top: "data" input_param { shape { dim: [1, 3, 8, 8] } } }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 }
      convolution_param { num_output: 4 pad: 2 kernel_size: 5 } }
    layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 } }"""
    assert plain(new, keep_unknown=False) == plain(net(expected))


def test_lines_and_unknown_fields_stay_with_their_layers():
    new = upgrade_net(net(OLD))
    assert [where(layer) for layer in new.layer] == [None, Where("old.prototxt", 3), Where("old.prototxt", 4)]
    assert [(path, f.field, f.line, f.value) for path, f in all_unknown_fields(new)] == [
        ("", "fork_field", 5, None),
        ("layer[2]", "own", 4, None),
        ("layer[2].pooling_param", "pool", 4, "MEDIAN"),
    ]
    assert same(net(format_text(new)), new)


def test_the_identifier_of_an_unknown_v1_type_becomes_the_layers_type():
    (layer,) = upgrade_net(net("\nlayers { type: INTERP interp_param { zoom: 2 } blob_share_mode: MAYBE }")).layer
    assert layer.type == "INTERP"
    assert [f.field for f in unknown_fields(layer)] == ["interp_param", "blob_share_mode"]
    assert where(layer) == Where("old.prototxt", 2)


def test_a_current_net_is_only_copied():
    new = net('name: "n" layer { name: "a" type: "ReLU" own: 1 }')
    again = upgrade_net(new)
    assert again == new
    assert again is not new
    assert is_unchanged(upgrade_net, new)


def test_values_of_old_weights_are_found_after_the_upgrade(tmp_path):
    store, old = BlobStore(), NetParameter(name="old")
    for name in ("a", "b"):
        layer = old.layers.add().layer
        layer.name, layer.type = name, "conv"
        store.attach(layer.blobs.add(), np.full((1, 1, 2, 3), ord(name), np.float32), legacy_shape=True)
    write_binary(old, tmp_path / "old", store)
    message, store = read_binary(tmp_path / "old", NetParameter)
    new = upgrade_net(message)
    assert [(layer.name, layer.type) for layer in new.layer] == [("a", "Convolution"), ("b", "Convolution")]
    assert [store.data(layer.blobs[0]).tolist() for layer in new.layer] == [[[[[n] * 3] * 2]] for n in (97.0, 98.0)]
    write_binary(new, tmp_path / "new", store)
    assert list(NetParameter.FromString((tmp_path / "new").read_bytes()).layer[1].blobs[0].data) == [98.0] * 6


def test_unknown_fields_of_old_binary_layers_do_not_turn_into_others():
    layer = V1LayerParameter(name="a", type="RELU")
    layer.MergeFromString(b"\xba\x08\x02\x08\x01")  # number 135: unknown to V1, flatten_param of V2
    (new,) = upgrade_net(NetParameter(layers=[layer])).layer
    assert not new.HasField("flatten_param")
    assert [(f.field, f.file) for f in unknown_fields(new)] == [("135", None)]


def test_an_unknown_v1_type_keeps_its_number(tmp_path):
    layer = V1LayerParameter(name="a")
    layer.MergeFromString(b"\x28\x63")  # type: 99
    assert upgrade_net(NetParameter(layers=[layer])).layer[0].type == "V1_99"
