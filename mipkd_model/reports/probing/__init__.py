"""Which features of a teacher and a student are alike, and so where to cut them."""
