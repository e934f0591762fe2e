"""Read AVEC 2016 and RECOLA trees: file layout, tables, frame times, partitions and gold standard."""
