"""The messages of Caffe 1.0: ``from caffe_compat.proto import caffe_pb2``."""
