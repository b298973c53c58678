"""Datasets: image files, LMDBs of raw images and the paired dataset on top of them."""
from mipkd_arch.base.errors import UserError


class DataError(UserError):
    """A database or an image cannot be used; the message names it and the remedy."""
