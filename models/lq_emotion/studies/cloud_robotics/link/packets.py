"""A stream on the link: its packets with their headers, one after another at the rate of the link."""

from __future__ import annotations

from dataclasses import dataclass

HEADER_BYTES = 20 + 8 + 12  # of IPv4, UDP and RTP: RFC 791, RFC 768, RFC 3550
PAYLOAD_BYTES = 1500 - HEADER_BYTES  # what Ethernet's frame of 1500 bytes leaves


def packets_of(frame_bytes: float) -> int:
    """Return how many packets a coded frame takes."""
    return max(1, -int(-frame_bytes // PAYLOAD_BYTES))


def wire_bits(frame_bits: float) -> float:
    """Return the bits of a coded frame with the headers of its packets."""
    return frame_bits + 8 * HEADER_BYTES * packets_of(frame_bits / 8)


@dataclass
class Pacer:
    """A link that sends one bit after the other: tells when the last bit of what is given to it has left.

    Attributes
    ----------
    kbps : its rate, in 1000 bits per second.
    free : when it has sent everything, in seconds.
    """

    kbps: float
    free: float = 0.0

    def send(self, bits: float, now: float) -> float:
        """Queue bits at a time in seconds; return when the last of them has left."""
        self.free = max(now, self.free) + bits / (1000 * self.kbps)
        return self.free
