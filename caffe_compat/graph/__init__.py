"""From a definition to a frozen graph: shapes, shared blobs, costs, and what a backward pass reaches."""
