"""Tools around nets: timing, checking, comparing, and what BVLC Caffe shipped as programs of their own."""
