"""One folder per study: plan, recipes, published numbers, tables and figures."""
