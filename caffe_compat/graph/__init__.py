"""Turn a definition into a frozen graph: shapes, shared blobs, costs, and the reach of a backward pass."""
