"""People in pictures: boxes, which pixels are whose, and how well both are found."""
