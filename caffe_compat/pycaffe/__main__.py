"""``python -m caffe_compat.pycaffe script.py ARGS``: a script that says ``import caffe``, unchanged."""

import sys

from caffe_compat.pycaffe.runner import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
