"""What other services tell about customers, kept by node: one read model with a table for each thing that a profile shows.

Nothing here says which customer a node belongs to. Whoever reads names the nodes, so that a merge or its undoing changes no row.
"""
