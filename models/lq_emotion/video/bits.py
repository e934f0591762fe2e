"""How many bits of an H.264 or HEVC stream are pictures, and how many are headers.

A stream of bytes (Annex B of both standards) is a row of NAL units, each behind a start code. Those of the video coding
layer (VCL) hold the pictures; the others hold parameters and messages, such as x264's banner of some 600 bytes, which
in a short stream of tiny pictures costs more than they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from caffe_compat.errors import DataError

Family = Literal["h264", "hevc"]
_H264_SLICES = frozenset({1, 2, 3, 4, 5})  # 2-4 are partitions of a slice; encoders of today write 1 and 5
_HEVC_VCL = 32  # types below


class Bits(NamedTuple):
    """The size of a stream.

    Attributes
    ----------
    total : all of it.
    vcl : NAL units of pictures, with their start codes.
    by_type : the bits of every type of NAL unit; their sum is `total`.
    """

    total: int
    vcl: int
    by_type: Mapping[int, int]


def split_nals(stream: bytes) -> list[bytes]:
    """Cut a stream into NAL units, each with its start code of three or four bytes.

    Raises
    ------
    DataError
        It does not begin with a start code.
    """
    starts = []
    place = stream.find(b"\0\0\1")
    while place >= 0:
        # the standards' zero_byte before a start code belongs to it
        starts.append(place - 1 if place and stream[place - 1] == 0 else place)
        place = stream.find(b"\0\0\1", place + 3)
    if not stream:
        return []
    if not starts or starts[0] != 0:
        raise DataError("the stream does not begin with a NAL unit", value=stream[:8].hex())
    return [stream[start:end] for start, end in zip(starts, [*starts[1:], len(stream)], strict=True)]


def nal_type(unit: bytes, family: Family) -> int:
    """Return the type of a NAL unit (with its start code), as its standard numbers them."""
    header = unit.index(1) + 1
    if header >= len(unit):
        raise DataError("a NAL unit is empty", value=unit.hex())
    return unit[header] & 31 if family == "h264" else unit[header] >> 1 & 63


def is_vcl(kind: int, family: Family) -> bool:
    """Whether NAL units of a type hold pictures."""
    return kind in _H264_SLICES if family == "h264" else kind < _HEVC_VCL


def count_bits(stream: bytes, family: Family) -> Bits:
    """Count the bits of a stream by what they are for.

    Raises
    ------
    DataError
        It is no stream of NAL units.
    """
    by_type: dict[int, int] = {}
    for unit in split_nals(stream):
        kind = nal_type(unit, family)
        by_type[kind] = by_type.get(kind, 0) + 8 * len(unit)
    vcl = sum(bits for kind, bits in by_type.items() if is_vcl(kind, family))
    return Bits(8 * len(stream), vcl, dict(sorted(by_type.items())))
