"""What holders of AVEC 2016 or RECOLA have on disk: where it lies, its tables, times and gold standard."""
