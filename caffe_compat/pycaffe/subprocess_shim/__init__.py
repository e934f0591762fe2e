"""A folder for the search path of processes that a script starts: ``caffe``, and old ``caffe_pb2.py`` that give way."""
