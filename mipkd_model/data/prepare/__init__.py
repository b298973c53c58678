"""Preparing data sets: download, pack into LMDBs, verify."""
