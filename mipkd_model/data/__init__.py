"""Data of mipkd: image files, LMDBs of raw images, the paired dataset on them and the order of its samples."""
from mipkd_arch.base.errors import UserError


class DataError(UserError):
    """A database or image cannot be used; the message names it and the remedy."""
