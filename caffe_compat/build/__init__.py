"""From a graph to a torch module, with its weights and its preprocessing."""
