"""Face boxes for recordings that come without: found by OpenCV's cascade, followed over time, kept in files."""
