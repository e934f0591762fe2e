"""Caffe's messages under the name scripts import them by: ``from caffe.proto import caffe_pb2``."""

import sys

from caffe_compat.schema import caffe_pb2

__all__ = ["caffe_pb2"]

sys.modules[f"{__name__}.caffe_pb2"] = caffe_pb2  # also for `import caffe.proto.caffe_pb2 as ...`
