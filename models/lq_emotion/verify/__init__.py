"""Whether files of weights are whole, are the authors' networks, and mean the same to other engines."""
