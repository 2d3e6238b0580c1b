"""What the experiments share: cells, rows, tables, figures, data sets, networks, methods."""
