"""Whether the file of an LMDB is sound, found out before LMDB maps it.

LMDB follows the numbers in its file without asking whether they point into it: a damaged file, or one that was made
to, can kill the process, hang it or give the bytes of another image. Here every page of the tree is read and checked,
but none of the large values, so that the time is that of the tree, which is a small part of a database of images.

All integers are little-endian. A file is a row of pages; page 0 and 1 are meta pages, of which the newer one counts.
A page of the tree begins with its own number (8 bytes), 2 unused bytes, flags (2), lower and upper (2 each): the ends
of the table of nodes' places and of the free room behind it. A node is 8 bytes of sizes, flags and page numbers, the
key, and in a leaf the value, or the number of the page at which a large one lies in a row of pages of its own.
"""
import os
import stat
import struct
from itertools import pairwise
from typing import NamedTuple

from . import DataError

HEADER = 16  # bytes of a page before its nodes, or before a large value
META = struct.Struct('<IIQQ')  # magic, version, address, size of the map
TREE = struct.Struct('<IHHQQQQQ')
PAGE = struct.Struct('<QHHHH')  # number, unused, flags, lower, upper
BIG_START = struct.Struct('<QHHI')  # as PAGE, with the number of pages in place of lower and upper
NODE = struct.Struct('<HHHH')
MAGIC, VERSION = 0xBEEFC0DE, 1
BRANCH, LEAF, BIG_PAGES, META_PAGE = 1, 2, 4, 8
BIG = 1  # flag of a node: its value lies on pages of its own
FREE_FLAGS = 8  # of the tree of free pages: its keys are integers
DEEPEST = 32  # of LMDB
SPARE_PAGES = 1 << 20
NO_PAGE = (1 << 64) - 1


class Unsound(Exception):
    """What is wrong with a file."""


class _Tree(NamedTuple):
    """A tree, as a meta page describes it; ``page_size`` only of the first of the two."""
    page_size: int
    flags: int
    depth: int
    branches: int
    leaves: int
    big_pages: int
    entries: int
    root: int


class _Meta(NamedTuple):
    free: _Tree
    main: _Tree
    last: int
    transaction: int


_sound = {}  # real path -> what the file was when it was checked, in this process and those forked from it


def check_lmdb(path, name):
    """Check the file of an LMDB, unless it is the very file that was checked before.

    Args:
        path, name: the folder, and what messages call it.

    Returns:
        tuple[int, ...]: device, inode, size and time of change of the file; the same object for the same file.

    Raises:
        DataError: no such file, or not a sound one.
    """
    file = os.path.join(path, 'data.mdb')
    try:
        found = os.stat(file)
        state = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        if _sound.get(file) == state:
            return _sound[file]
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f'{name}: no such LMDB, which is a folder with data.mdb (that is no file)')
        with open(file, 'rb') as content:
            check_file(content, found.st_size)
    except Unsound as error:
        raise DataError(f'{name}: {error}; remove it and pack it anew') from None
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f'{name}: no such LMDB, which is a folder with data.mdb '
                        f'({getattr(error, "strerror", None) or error})') from None
    _sound[file] = state
    return state


def is_sound(path):
    """Whether an LMDB is sound enough to be written to."""
    file = os.path.join(path, 'data.mdb')
    if not os.path.isfile(file):
        return False
    try:
        with open(file, 'rb') as content:
            check_file(content, os.fstat(content.fileno()).st_size, writable=True)
    except (Unsound, OSError, ValueError):
        return False
    return True


def check_file(content, size, writable=False):
    """Check a database.

    Args:
        content, size: its file, open for reading in binary, and the bytes of it.
        writable (bool): check what writing relies on, too: the tree of free pages and what large values begin with.

    Returns:
        list[bytes]: its keys, in order.

    Raises:
        Unsound: what is wrong.
    """
    handle = content.fileno()
    meta = _newest_meta(handle, size)
    walk = _Walk(handle, meta.free.page_size, meta.last, writable)
    keys = walk.tree(meta.main, 'its tree')
    if writable and not all(0 < key <= meta.transaction for key in walk.tree(meta.free, 'its free pages', free=True)):
        raise Unsound('is damaged: its list of free pages is')
    walk.check_places(size)
    return keys


def _newest_meta(handle, size):
    first = _meta(handle, 0, 0)
    page_size = first.free.page_size
    if page_size not in (1 << power for power in range(8, 16)):
        raise Unsound(f'is damaged: its pages are of {page_size} bytes')
    second = _meta(handle, 1, page_size)
    if second.free.page_size != page_size:
        raise Unsound('is damaged: its meta pages do not fit each other')
    newest = second if second.transaction > first.transaction else first
    # The file may lack free pages at its end, but not so many that the map of it takes any memory.
    if not 1 <= newest.last <= 2 * (size // page_size) + SPARE_PAGES or newest.free.flags != FREE_FLAGS:
        raise Unsound('is damaged: its meta page is')
    if newest.main.flags or newest.main.page_size:
        raise Unsound('is an LMDB of another kind than those of images (its keys or values are of a special order)')
    return newest


def _meta(handle, number, place):
    raw = _read(handle, HEADER + META.size + 2 * TREE.size + 16, place)
    found, _, flags, *_ = PAGE.unpack_from(raw)
    magic, version, *_ = META.unpack_from(raw, HEADER)
    if magic != MAGIC or not flags & META_PAGE:
        raise Unsound('is not an LMDB, or its beginning is damaged')
    if version != VERSION:
        raise Unsound(f'is an LMDB of format {version}, only {VERSION} is read')
    if found != number:
        raise Unsound(f'is damaged: meta page {number} is')
    place = HEADER + META.size
    last, transaction = struct.unpack_from('<QQ', raw, place + 2 * TREE.size)
    return _Meta(_Tree(*TREE.unpack_from(raw, place)), _Tree(*TREE.unpack_from(raw, place + TREE.size)), last,
                 transaction)


def _read(handle, count, place):
    raw = os.pread(handle, count, place)
    if len(raw) < count:
        raise Unsound('is cut short')
    return raw


class _Walk:
    """Goes through trees; keeps which pages they take."""

    def __init__(self, handle, page_size, last, writable):
        self.handle, self.page_size, self.last, self.writable = handle, page_size, last, writable
        self.taken = [(0, 2)]  # first page and number of pages
        self.free_pages = []

    def tree(self, tree, name, free=False):
        """Check a tree and return its keys; those of the tree of free pages are numbers."""
        self.name, self.free, self.depth = name, free, tree.depth
        self.keys, self.pages, self.branches, self.leaves, self.big_pages = [], set(), 0, 0, 0
        if tree.root == NO_PAGE:
            if any(tree[2:7]):
                self.fail('is empty, but should not be')
            return []
        if not 1 <= tree.depth <= DEEPEST:
            self.fail(f'has {tree.depth} levels')
        self.page(tree.root, 1, None, None)
        # A value that was replaced by a smaller one keeps its pages; how many these are is told only where they begin.
        big_pages_fit = self.big_pages == tree.big_pages if self.writable else self.big_pages <= tree.big_pages
        if not big_pages_fit or (self.branches, self.leaves, len(self.keys)) != (
                tree.branches, tree.leaves, tree.entries):
            self.fail('has not the pages and entries that its meta page tells')
        if any(a >= b for a, b in pairwise(self.keys)):
            self.fail('has keys that are not in order')
        return self.keys

    def fail(self, what):
        raise Unsound(f'is damaged: {self.name} {what}')

    def page(self, number, level, low, high):
        """Check a page, whose keys must be from ``low`` to below ``high``, and what is below it."""
        if not 2 <= number <= self.last or number in self.pages:
            self.fail('has a page that is not there, or twice')
        self.pages.add(number)
        self.taken.append((number, 1))
        raw = _read(self.handle, self.page_size, number * self.page_size)
        found, _, flags, lower, upper = PAGE.unpack_from(raw)
        if found != number or flags != (LEAF if level == self.depth else BRANCH):
            self.fail(f'has another page in place of page {number}')
        # LMDB takes it for granted that a branch has two children and a leaf one entry.
        if not HEADER + (2 if flags == LEAF else 4) <= lower <= upper <= self.page_size or lower % 2:
            self.fail(f'has a damaged page {number}')
        places = struct.unpack_from(f'<{(lower - HEADER) // 2}H', raw, HEADER)
        if min(places) < upper or max(places) + NODE.size > self.page_size:
            self.fail(f'has a damaged page {number}')
        if flags == LEAF:
            self.leaves += 1
            ends = self.leaf(raw, places, low, high)
        else:
            self.branches += 1
            ends = self.branch(raw, places, level, low, high)
        # Writing moves nodes about, which must lie side by side from ``upper`` to the end of the page, at even places.
        if self.writable and [*sorted(places), self.page_size] != [upper, *sorted(end + end % 2 for end in ends)]:
            self.fail(f'has a damaged page {number}')

    def branch(self, raw, places, level, low, high):
        """Check the nodes of a branch and what is below it. Returns where the nodes end."""
        nodes = [self.node(raw, place) for place in places]
        bounds = [low, *(self.key(key) for _, _, key, _ in nodes[1:]), high]
        for (child, flags, _, _), low_of_child, high_of_child in zip(nodes, bounds[:-1], bounds[1:], strict=True):
            self.page(child | flags << 32, level + 1, low_of_child, high_of_child)
        return [end for *_, end in nodes]

    def leaf(self, raw, places, low, high):
        """Check the nodes of a leaf, and take their keys. Returns where the nodes end."""
        start, ends = len(self.keys), []
        for place in places:
            size, flags, key, end = self.node(raw, place)
            self.keys.append(self.key(key))
            if flags not in (0, BIG):
                self.fail('has values of a special kind')
            inside = 8 if flags else size
            if end + inside > self.page_size:
                self.fail('has a value that goes beyond its page')
            ends.append(end + inside)
            value = raw[end:end + inside]
            if flags:
                value = self.big(int.from_bytes(value, 'little'), size)
            if self.free:
                self.free_list(value)
        if (low is not None and self.keys[start] < low) or (high is not None and self.keys[-1] >= high):
            self.fail('has keys in another place than its branches tell')
        return ends

    def node(self, raw, place):
        """Size of the value or number of the child, flags, key, and where the key ends."""
        low, middle, flags, key_size = NODE.unpack_from(raw, place)
        end = place + NODE.size + key_size
        if end > self.page_size:
            self.fail('has a key that goes beyond its page')
        return low | middle << 16, flags, raw[place + NODE.size:end], end

    def key(self, raw):
        if self.free and len(raw) != 8:
            self.fail('has a key of a wrong size')
        return int.from_bytes(raw, 'little') if self.free else raw

    def big(self, number, size):
        """Check the row of pages of a large value; returns a list of free pages, and None for an image."""
        count = (HEADER - 1 + size) // self.page_size + 1
        if self.writable and 2 <= number <= self.last:
            found, _, flags, pages = BIG_START.unpack(_read(self.handle, HEADER, number * self.page_size))
            if found != number or flags != BIG_PAGES or pages < count:
                self.fail('has a value with a damaged beginning')
            count = pages
        if not 2 <= number <= self.last or number + count - 1 > self.last:
            self.fail('has a value that is not there whole')
        self.taken.append((number, count))
        self.big_pages += count
        return _read(self.handle, size, number * self.page_size + HEADER) if self.free else None

    def free_list(self, value):
        """Take the free pages of one entry: their number, and theirs, each 8 bytes, the last page first."""
        numbers = struct.unpack(f'<{len(value) // 8}Q', value[:len(value) // 8 * 8])
        if len(value) % 8 or not numbers or numbers[0] != len(numbers) - 1:
            self.fail('has an entry of a wrong size')
        self.free_pages.extend(numbers[1:])
        if any(a <= b for a, b in pairwise(numbers[1:])) or any(not 2 <= n <= self.last for n in numbers[1:]):
            self.fail('has pages that are not there, or twice')

    def check_places(self, size):
        """Check that all pages lie in a file of ``size`` bytes, and that none is there for two things."""
        end = max(start + count for start, count in self.taken) * self.page_size
        if end > size:
            raise Unsound(f'is cut short, {size} of at least {end} bytes')
        rows = sorted(self.taken + [(number, 1) for number in self.free_pages])
        if any(start + count > following for (start, count), (following, _) in pairwise(rows)):
            raise Unsound('is damaged: it has a page for two things')
