"""A folder for the search path of processes that a script starts: the only thing to be found in it is ``caffe``."""
