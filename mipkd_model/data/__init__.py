"""Data of mipkd: LMDBs of raw images, read by slices, and the paired dataset on them."""
