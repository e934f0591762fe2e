"""Bits by type of NAL unit, on streams written by hand."""

import pytest

from lq_emotion.video.encode import count_bits, split_nals
from tests.refusals import refused

LONG, SHORT = b"\0\0\0\1", b"\0\0\1"


def test_streams_are_split_at_start_codes_of_three_and_four_bytes():
    stream = LONG + b"\x67\x64\x00" + LONG + b"\x68\xee" + SHORT + b"\x06\x05\x01" + LONG + b"\x65\x88\0\0\3\1"
    units = split_nals(stream)
    assert [len(unit) for unit in units] == [7, 6, 6, 10]
    assert b"".join(units) == stream


def test_only_slices_of_h264_count_as_frames():
    sizes = {7: 3, 8: 2, 6: 600, 5: 40, 1: 20}  # parameters, parameters, banner, IDR, P
    stream = b"".join(LONG + bytes([0x60 | unit_type]) + b"\xaa" * (size - 1) for unit_type, size in sizes.items())
    assert count_bits(stream, "h264") == (8 * (40 + 20 + 8), {1: 192, 5: 352, 6: 4832, 7: 56, 8: 48})


def test_hevc_types_below_32_count_as_frames():
    sizes = {32: 10, 33: 20, 34: 8, 39: 100, 19: 60, 1: 30, 0: 5}  # VPS, SPS, PPS, SEI, IDR, slices
    stream = b"".join(SHORT + bytes([unit_type << 1, 1]) + b"\xaa" * (size - 2) for unit_type, size in sizes.items())
    vcl, by_type = count_bits(stream, "hevc")
    assert vcl == 8 * (60 + 30 + 5 + 9)
    assert sum(by_type.values()) == 8 * (233 + 21)


@pytest.mark.parametrize(("first", "family", "expected"), [(0x65, "h264", 5), (0x41, "h264", 1), (0x26, "hevc", 19)])
def test_the_type_is_read_from_the_header_of_each_standard(first, family, expected):
    assert list(count_bits(LONG + bytes([first, 1]), family)[1]) == [expected]


def test_a_stream_with_length_prefixes_is_refused():
    with refused("wrong-format", value="0000000a65616263"):
        count_bits(b"\0\0\0\x0a\x65abcdefghi", "h264")


def test_an_empty_stream_has_no_bits():
    assert count_bits(b"", "h264") == (0, {})
