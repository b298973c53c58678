"""Networks built from options, converted from other code bases, and published ones by name."""
