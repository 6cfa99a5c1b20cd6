"""View functions, one module for each resource."""
