"""Face boxes for recordings without them: detected by OpenCV's cascade, tracked over time, stored in files."""
