"""A search path entry for child processes of a script: it provides ``caffe`` and replaces an old ``caffe_pb2.py``."""
