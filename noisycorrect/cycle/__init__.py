"""What ends a cycle: the schedule (Eq. 5), the average of the weights (Eq. 6), its BatchNorm statistics."""
