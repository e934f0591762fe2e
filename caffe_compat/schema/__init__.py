"""The messages of Caffe 1.0 and of its forks: ``from caffe_compat.schema import caffe_pb2``."""
