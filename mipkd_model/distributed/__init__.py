"""Distributed training: launchers, process groups and the all-reduce of gradients."""
