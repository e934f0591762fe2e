"""Turn a graph into a torch module, with its weights and its preprocessing."""
