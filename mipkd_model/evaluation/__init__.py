"""Evaluation: inference on whole images, metrics, records of results and where they come from."""
