"""The error that the ports raise for whatever a user can put right."""

from __future__ import annotations

from caffe_compat_base.errors import CaffeCompatError, Code

__all__ = ["Code", "PortError"]


class PortError(CaffeCompatError, ValueError):
    """Something in the caller's input that cannot be used."""
