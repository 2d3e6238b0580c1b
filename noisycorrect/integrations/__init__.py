"""Self-correction inside the loops of other libraries; each is imported only if its module is."""
