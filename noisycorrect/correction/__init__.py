"""How predictions become refined labels: at the ends of cycles, at every step, cross-fitted."""
