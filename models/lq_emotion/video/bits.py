"""Count the bits of H.264 and HEVC streams by type of NAL unit.

A byte stream (Annex B of both standards) is a sequence of NAL units, each after a start code. Units of the video coding
layer (VCL) contain coded frames; the others contain parameter sets and messages, such as x264's banner of some 600
bytes, which in a short stream of tiny frames outweighs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from caffe_compat.errors import DataError

Family = Literal["h264", "hevc"]
_H264_SLICES = frozenset({1, 2, 3, 4, 5})  # 2 to 4 are data partitions; today's encoders write 1 and 5
_HEVC_NON_VCL = 32  # types from here on


class Bits(NamedTuple):
    """The size of a stream in bits.

    Attributes
    ----------
    total : the whole stream.
    vcl : NAL units of coded frames, with their start codes.
    by_type : NAL unit type -> bits; they sum to `total`.
    """

    total: int
    vcl: int
    by_type: Mapping[int, int]


def split_nals(stream: bytes) -> list[bytes]:
    """Split a stream into NAL units, each with its start code of three or four bytes."""
    starts = []
    position = stream.find(b"\0\0\1")
    while position >= 0:
        # a zero_byte (the standards' term) before a start code belongs to it
        starts.append(position - 1 if position and stream[position - 1] == 0 else position)
        position = stream.find(b"\0\0\1", position + 3)
    if not stream:
        return []
    if not starts or starts[0] != 0:
        raise DataError(
            "the stream does not begin with a NAL start code", code="wrong-format", value=stream[:8].hex(),
            hint="an Annex B byte stream is expected",
        )  # fmt: skip
    return [stream[start:end] for start, end in zip(starts, [*starts[1:], len(stream)], strict=True)]


def nal_type(unit: bytes, family: Family) -> int:
    """Return the type of a NAL unit, given with its start code."""
    header = unit.index(1) + 1
    if header >= len(unit):
        raise DataError("empty NAL unit", code="damaged-file", value=unit.hex())
    return unit[header] & 31 if family == "h264" else unit[header] >> 1 & 63


def is_vcl(unit_type: int, family: Family) -> bool:
    """Return whether NAL units of a type contain coded frames."""
    return unit_type in _H264_SLICES if family == "h264" else unit_type < _HEVC_NON_VCL


def count_bits(stream: bytes, family: Family) -> Bits:
    """Count the bits of a stream by type of NAL unit; refuse what does not consist of them."""
    by_type: dict[int, int] = {}
    for unit in split_nals(stream):
        unit_type = nal_type(unit, family)
        by_type[unit_type] = by_type.get(unit_type, 0) + 8 * len(unit)
    vcl = sum(bits for unit_type, bits in by_type.items() if is_vcl(unit_type, family))
    return Bits(8 * len(stream), vcl, dict(sorted(by_type.items())))
