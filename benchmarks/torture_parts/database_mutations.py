"""Mutations of LMDBs: of their pages, of their indexes, and of the images in them.

A page has 4096 bytes; of its head, bytes 10 and 11 say what it is, bytes 12 to 15 where its entries end and begin, or
how many pages an overflow has. https://github.com/LMDB/lmdb (mdb.c, ``struct MDB_page``).
"""
import hashlib
import json
import struct

import cv2
import lmdb
import numpy as np

PAGE, INDEX_KEY = 4096, b'__index__'
KINDS = {1: 'branch', 2: 'leaf', 4: 'overflow', 8: 'meta'}
NAMES = ['../../x', '/etc/passwd', '', 'a\x00b', '\x1b[2J', 'x' * 400, '..', 'a/b', '0000 ', 'Ä', '\u202e', 'a\nb']


def pages_of(content):
    """Numbers of a database's pages by kind; pages within an overflow have no head and are 'data'."""
    found, skip = {}, 0
    for number in range(len(content) // PAGE):
        flags, count = struct.unpack_from('<HI', content, number * PAGE + 10)
        kind = 'data' if skip else KINDS.get(flags & 15, 'free')
        skip = skip - 1 if skip else count - 1 if kind == 'overflow' else 0
        found.setdefault(kind, []).append(number)
    return found


def pages_mutated(rng, content):
    """A database file with damaged pages: its bytes, and what was done."""
    found, pages = bytearray(content), pages_of(content)
    kind = rng.choice(list(pages) + ['meta', 'leaf', 'branch'])
    number = rng.choice(pages.get(kind, [0, 1]))
    start = number * PAGE
    how = rng.choice(['flips', 'head', 'zeros', 'noise', 'of another', 'exchanged', 'entries', 'number'])
    where = f'{kind} page {number}: {how}'
    if how == 'flips':
        for _ in range(rng.choice([1, 3, 30])):
            found[start + rng.randrange(PAGE)] ^= 1 << rng.randrange(8)
    elif how == 'head':  # of a meta page: what the tree's root, its depth and the file's size are
        at = start + rng.randrange(168 if kind == 'meta' else 16)
        found[at] = rng.choice([0, 1, 255, found[at] ^ 128])
        where += f' byte {at - start} is {found[at]}'
    elif how == 'zeros':
        length = rng.choice([16, 256, PAGE])
        found[start:start + length] = bytes(length)
    elif how == 'noise':
        found[start:start + PAGE] = rng.randbytes(PAGE)
    elif how in ('of another', 'exchanged'):
        other = rng.randrange(len(content) // PAGE)
        found[start:start + PAGE] = content[other * PAGE:other * PAGE + PAGE]
        if how == 'exchanged':
            found[other * PAGE:other * PAGE + PAGE] = content[start:start + PAGE]
        where += f' with page {other}'
    elif how == 'entries':  # the places of entries, behind the head of leaves and branches
        at = start + 16 + 2 * rng.randrange(8)
        found[at:at + 2] = rng.choice([b'\x00\x00', b'\xff\xff', b'\xf0\x0f', rng.randbytes(2)])
    else:  # a number of 8 bytes anywhere: of a page, of a size
        at = start + 8 * rng.randrange(PAGE // 8)
        found[at:at + 8] = struct.pack('<Q', rng.choice([0, 1, 2**32, 2**48, 2**63, 2**64 - 1, number, number + 10**6]))
        where += f' at {at - start}'
    return bytes(found), where


def length_mutated(rng, content):
    """A database file that is cut, or longer."""
    how = rng.choice(['cut', 'cut at a page', 'longer', 'empty', 'meta alone', 'noise'])
    at = rng.randrange(len(content))
    return {'cut': content[:at], 'cut at a page': content[:at // PAGE * PAGE], 'longer': content + rng.randbytes(at),
            'empty': b'', 'meta alone': content[:2 * PAGE], 'noise': rng.randbytes(at)}[how], how


def rewrite(folder, change):
    """Change the entries of a database in LMDB's own way.

    Args:
        folder (Path): of the database.
        change (callable): takes the write transaction.
    """
    with lmdb.open(str(folder), map_size=1 << 24) as env, env.begin(write=True) as txn:
        change(txn)
    (folder / 'lock.mdb').unlink()


def index_mutated(rng, folder):
    """Write an index that is sealed as a right one, but says something else. Returns what."""
    words = []

    def change(txn):
        index = json.loads(bytes(txn.get(INDEX_KEY)).partition(b'\n')[2])
        images = index['images']
        name = rng.choice(list(images))
        how = rng.choice(['shape', 'key', 'renamed', 'deleted', 'added', 'whole', 'format', 'seal', 'exchanged'])
        if how == 'shape':
            images[name]['shape'] = rng.choice([[0, 0, 3], [-1, -1, 3], [10**9, 10**9, 3], ['4', 4, 3], [4, 4], None, [
                1, 1, 1], [40.0, 52.0, 3], [10, 208, 3], [52, 40, 3], [True, 6240, 1], [[40], 52, 3], [6240, 1, 1]])
        elif how == 'key':
            key = rng.choice(list(images[name]))
            images[name][key] = rng.choice([None, 3, 'x', [], {}])
            if rng.random() < 0.4:
                del images[name][key]
        elif how == 'renamed':
            images[rng.choice(NAMES)] = images.pop(name)
        elif how == 'deleted':
            del images[name]
        elif how == 'added':
            images[new := rng.choice(NAMES)] = images[name]
            if new and len(new.encode()) < 500 and rng.random() < 0.7:
                txn.put(new.encode(), bytes(txn.get(name.encode())))
        elif how == 'whole':
            index = rng.choice([{}, [], None, 3, {'format': 2}, {'format': 2, 'images': []}, {'images': {}},
                                {'format': 2, 'images': {}}, {'format': 2, 'images': {name: None}},
                                {'format': 2, 'images': {name: []}}])
        elif how == 'format':
            index['format'] = rng.choice([1, 3, '2', None, [], 10**30])
        elif how == 'exchanged':
            other = rng.choice(list(images))
            images[name], images[other] = images[other], images[name]
        text = json.dumps(index).encode()
        if how == 'whole' and rng.random() < 0.3:
            text = rng.choice([b'', b'{', b'\xff', b'NaN', b'[' * 100000, b'"x"'])
        digest = hashlib.sha256(text).hexdigest().encode()
        if how == 'seal':
            digest = rng.choice([b'', b'x', digest[:-1] + b'?', digest + b'\n'])
        txn.put(INDEX_KEY, digest + b'\n' + text)
        words.append(f'index: {how}, {name}')
    rewrite(folder, change)
    return words[0]


def raw_image_mutated(rng, folder):
    """Change an image of a raw database, and not the index. Returns what."""
    words = []

    def change(txn):
        names = [bytes(key) for key, _ in txn.cursor() if bytes(key) != INDEX_KEY]
        name = rng.choice(names)
        value = bytearray(txn.get(name))
        how = rng.choice(['a pixel', 'shorter', 'longer', 'empty', 'deleted', 'noise', 'one more'])
        if how == 'a pixel':
            value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
        new = {'a pixel': value, 'shorter': value[:-1], 'longer': value + b'\x00', 'empty': b'', 'deleted': None,
               'noise': rng.randbytes(len(value)), 'one more': value}[how]
        if new is None:
            txn.delete(name)
        else:
            txn.put(name + b'_x' if how == 'one more' else name, bytes(new))
        words.append(f'image {name.decode()}: {how}')
    rewrite(folder, change)
    return words[0]


def png_mutated(rng, folder):
    """Change an image of a PNG database. Returns what."""
    words = []

    def change(txn):
        name = rng.choice([bytes(key) for key, _ in txn.cursor()])
        value = bytearray(txn.get(name))
        how = rng.choice(['a bit', 'a byte of the head', 'cut', 'empty', 'deleted', 'noise', 'a JPEG', 'another size',
                          'gray', '16 bits', 'huge by its head', 'a text', 'longer', 'an alpha channel'])
        noise = np.frombuffer(rng.randbytes(40 * 52 * 4), np.uint8).reshape(40, 52, 4)
        if how == 'a bit':
            value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
        elif how == 'a byte of the head':
            value[rng.randrange(33)] = rng.randrange(256)
        elif how == 'huge by its head':
            value[16:24] = struct.pack('>II', 2**30, 2**30) if rng.random() < 0.5 else struct.pack('>II', 60000, 60000)
        image = cv2.imdecode(np.frombuffer(bytes(txn.get(name)), np.uint8), cv2.IMREAD_COLOR)
        made = {'cut': lambda: value[:rng.randrange(len(value))], 'empty': lambda: b'', 'deleted': lambda: None,
                'noise': lambda: rng.randbytes(500), 'a JPEG': lambda: _encoded('.jpg', image),
                'another size': lambda: _encoded('.png', image[1:, 1:]), 'a text': lambda: b'<html>404',
                '16 bits': lambda: _encoded('.png', image.astype(np.uint16) * 257),
                'gray': lambda: _encoded('.png', image[..., 0]), 'longer': lambda: bytes(value) + rng.randbytes(100),
                'an alpha channel': lambda: _encoded('.png', noise)}.get(how, lambda: value)()
        if made is None:
            txn.delete(name)
        else:
            txn.put(name, bytes(made))
        words.append(f'PNG {name.decode()}: {how}')
    rewrite(folder, change)
    return words[0]


def _encoded(suffix, image):
    return cv2.imencode(suffix, image)[1].tobytes()


def meta_info_mutated(rng, folder):
    """Change ``meta_info.txt`` of a PNG database. Returns what."""
    file = folder / 'meta_info.txt'
    lines = file.read_text().splitlines()
    at = rng.randrange(len(lines))
    how = rng.choice(['a name', 'a size', 'a line twice', 'a line less', 'an empty line', 'noise', 'empty', 'UTF-16',
                      'a tab', 'a bit', 'a huge size', 'another suffix', 'cut', 'a folder'])
    if how == 'a name':
        lines[at] = f'{rng.choice(NAMES)}.png (40,52,3) 1'
    elif how in ('a size', 'a huge size'):
        size = rng.choice(['0,0,3', '41,52,3', '52,40,3', '20,26', '40,52,1', '-40,52,3']) if how == 'a size' else (
            f'{"9" * rng.choice([5, 12, 5000])},52,3')
        lines[at] = f'{at:04d}.png ({size}) 1'
    elif how == 'a line twice':
        lines.append(lines[at])
    elif how == 'a line less':
        del lines[at]
    elif how == 'an empty line':
        lines.insert(at, '')
    elif how == 'another suffix':
        lines[at] = lines[at].replace('.png', '.jpg.png')
    content = '\n'.join(lines).encode()
    if how == 'noise':
        content = rng.randbytes(300)
    elif how == 'empty':
        content = b''
    elif how == 'UTF-16':
        content = content.decode().encode('utf-16')
    elif how == 'a tab':
        content = content.replace(b' ', b'\t')
    elif how == 'a bit':
        found = bytearray(content)
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
        content = bytes(found)
    elif how == 'cut':
        content = content[:rng.randrange(len(content))]
    file.unlink()
    if how == 'a folder':
        file.mkdir()
    else:
        file.write_bytes(content)
    return f'meta_info.txt: {how}, line {at + 1}'
