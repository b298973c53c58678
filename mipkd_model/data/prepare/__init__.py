"""Preparing datasets: download, pack into LMDBs, verify."""
