"""Mutations of option files, each drawn from a generator of random numbers."""
import string
from copy import deepcopy

import yaml

from .command_mutations import Mutation, command_line, file_special, forced, special_path, text_of
from .judge import ACCEPT, EITHER, REFUSE
from .option_oracle import must_refuse


def mutate(rng, base, kind, folder, canary):
    """Draw a mutation.

    Args:
        rng (random.Random): decides everything.
        base (dict): valid options; not changed.
        kind (str): 'train' or 'test'.
        folder (Path): where files may be made that the options then name.
        canary (Path): file that code in the options would make.

    Returns:
        Mutation: with what the oracle says of it.
    """
    draw = rng.choices(list(KINDS), KINDS.values())[0]
    found = draw(rng, base, folder, canary)
    if draw in COMPOSED and found.must == EITHER and rng.random() < TWICE:
        second = rng.choice(COMPOSED)
        try:
            again = second(rng, yaml.safe_load(found.text), folder, canary)
        except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError):
            pass  # the first left nothing that the second could be made of
        else:
            found = again._replace(words=f'{found.words}; {again.words}')
    if found.must == EITHER and found.file is None and not found.arguments:
        reason = must_refuse(found.text, base, kind)
        if reason:
            return found._replace(words=f'{found.words} [{reason}]', must=REFUSE)
    return found


def _blocks(opt, path=''):
    """All mappings within options, with their paths."""
    yield path, opt
    for key, value in opt.items():
        if isinstance(value, dict):
            yield from _blocks(value, f'{path}.{key}'.lstrip('.'))


def _place(rng, opt):
    """A random key: its path, the block it is in, and itself."""
    path, block = rng.choice([(path, block) for path, block in _blocks(opt) if block])
    key = rng.choice(list(block))
    return f'{path}.{key}'.lstrip('.'), block, key


def _misspelt(rng, key):
    at, letter = rng.randrange(len(key)), rng.choice(string.ascii_lowercase + '_')
    return rng.choice([key[:at] + key[at + 1:], key[:at] + letter + key[at:], key[:at] + letter + key[at + 1:],
                       key[:at] + key[at:at + 2][::-1] + key[at + 2:], key.upper(), f'{key} ', f'{key}s'])


def key_misspelt(rng, base, folder, canary):
    opt = deepcopy(base)
    path, block, key = _place(rng, opt)
    new = _misspelt(rng, key)
    renamed = {new if k == key else k: v for k, v in block.items()}
    block.clear()
    block.update(renamed)
    return Mutation(f'{path}: misspelt as {new!r}', text_of(opt))


def key_deleted(rng, base, folder, canary):
    opt = deepcopy(base)
    path, block, key = _place(rng, opt)
    del block[key]
    return Mutation(f'{path}: deleted', text_of(opt))


def key_of_another_kind(rng, base, folder, canary):
    opt = deepcopy(base)
    path, block, key = _place(rng, opt)
    new = rng.choice([None, 3, 1.5, True, (1, 2), b'x', '', 'a' * 5000, '../../x', '\u202e', '\x1b[31m', '__class__'])
    block[new] = block.pop(key)
    text = yaml.dump(opt, sort_keys=False).encode()
    return Mutation(f'{path}: key became {new!r}'[:120], text)


def key_given_twice(rng, base, folder, canary):
    lines = text_of(base).decode().splitlines()
    at = rng.randrange(len(lines))
    return Mutation(f'line {at + 1} twice: {lines[at].strip()}', '\n'.join([*lines[:at + 1], *lines[at:]]).encode())


def blocks_swapped(rng, base, folder, canary):
    opt = deepcopy(base)
    (one, block_1, key_1), (two, block_2, key_2) = _place(rng, opt), _place(rng, opt)
    if f'{one}.'.startswith(f'{two}.') or f'{two}.'.startswith(f'{one}.'):  # else one would hold itself
        return key_misspelt(rng, base, folder, canary)
    block_1[key_1], block_2[key_2] = deepcopy(block_2[key_2]), deepcopy(block_1[key_1])
    return Mutation(f'values of {one} and {two} swapped', text_of(opt))


VALUES = [None, True, False, 0, -1, 1, -3, 2**31, 2**63, 10**30, 0.5, -1e300, float('nan'), float('inf'),
          -float('inf'), '', ' ', 'abc', 'None', '1e-4', '~', 'a\nb', 'x' * 10000, '\x00', '\x1b[2J', [], [1], [[]],
          {}, {'type': 'L1Loss'}, {'a': {'b': {}}}, ['a', None, {}], b'\xff\x00', {1, 2}]


def value_replaced(rng, base, folder, canary):
    opt = deepcopy(base)
    path, block, key = _place(rng, opt)
    new = rng.choice(VALUES)
    block[key] = new
    return Mutation(f'{path}: {new!r}'[:120], yaml.dump(opt, sort_keys=False).encode())


def type_replaced(rng, base, folder, canary):
    """Names of classes: others that are registered, of Python, or of nothing."""
    opt = deepcopy(base)
    places = [(path, block) for path, block in _blocks(opt) if 'type' in block]
    path, block = rng.choice(places)
    block['type'] = rng.choice(['L1Loss', 'MSELoss', 'EDSR', 'RCAN', 'SwinIR', 'SRResNet', 'VGGStyleDiscriminator',
                                'PairedImageDataset', 'SingleImageDataset', 'calculate_ssim', 'calculate_niqe', 'SGD',
                                'Adam', 'MiPKDModel', 'os.system', '__import__', 'exec', 'GANLoss', 'PerceptualLoss',
                                'CosineAnnealingRestartLR', 'MultiStepRestartLR', 'type', 'StyleGAN2Generator'])
    return Mutation(f'{path}.type: {block["type"]}', text_of(opt))


def number_scaled(rng, base, folder, canary):
    """A number that is far too large, too small, or just beside."""
    opt = deepcopy(base)
    places = [(path, block, key) for path, block in _blocks(opt) for key, value in block.items()
              if isinstance(value, (int, float)) and not isinstance(value, bool)]
    path, block, key = rng.choice(places)
    block[key] = rng.choice([block[key] * 10**6, -block[key], block[key] + 1, block[key] - 1, block[key] * 1000,
                             block[key] / 3, block[key] * 10**12, str(block[key]), [block[key]]])
    return Mutation(f'{path}: {block[key]!r}', text_of(opt))


def name_escapes(rng, base, folder, canary):
    """Names that would become parts of paths."""
    opt = deepcopy(base)
    new = rng.choice(['../../x', '/tmp/torture_x', '..', '.', 'a/b', 'a\\b', '', '   ', 'x' * 300, 'a\nb', 'a\x00b',
                      '../' * 20 + 'etc/x', '~/x', '$HOME', '-rf', '/', 'a/../../b', 'a\tb'])
    block = rng.choice([opt, *(block for phase, block in opt['datasets'].items() if phase != 'train')])
    where = 'name' if block is opt else 'datasets.*.name'
    block['name'] = new
    sure = {'/', '\\', '\x00', '\n'} & set(new) or new.strip() in ('', '.', '..') or len(new) > 255
    return Mutation(f'{where}: {new!r}'[:120], text_of(opt), REFUSE if sure else EITHER)


def path_special(rng, base, folder, canary):
    opt = deepcopy(base)
    places = [(path, block, key) for path, block in _blocks(opt) for key in block
              if str(key).startswith(('dataroot_', 'pretrain_network_', 'resume_state'))]
    path, block, key = rng.choice(places)
    kind, block[key] = special_path(rng, folder)
    return Mutation(f'{path}: {kind}', text_of(opt), REFUSE)


def tag_planted(rng, base, folder, canary):
    """YAML tags, in the place of a value or beside."""
    tag = rng.choice([
        f'!!python/object/apply:os.system ["touch {canary}"]', f'!!python/object/new:os.system ["touch {canary}"]',
        '!!python/name:os.system', '!!python/module:os', f'!!python/object/apply:os.mkdir ["{canary}"]',
        f'!!python/object/apply:subprocess.check_output [[touch, "{canary}"]]', '!!python/tuple [1, 2]',
        f'!!python/object/apply:builtins.eval ["__import__(\'os\').system(\'touch {canary}\')"]', '!foreign {a: 1}',
        f'!<tag:yaml.org,2002:python/object/apply:os.system> ["touch {canary}"]', '!!python/complex 1+2j'])
    lines = text_of(base).decode().splitlines()
    at = rng.choice([i for i, line in enumerate(lines) if ': ' in line])
    lines[at] = f'{lines[at].partition(": ")[0]}: {tag}'
    return Mutation(f'tag {tag} in line {at + 1}', '\n'.join(lines).encode(), REFUSE)


def alias_bomb(rng, base, folder, canary):
    depth = rng.choice([3, 9, 30])
    bomb = 'a0: &a0 [x, x]\n' + ''.join(f'a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]\n' for i in range(1, depth))
    text = text_of(base).decode()
    kind = rng.choice(['beside', 'as a value', 'of itself', 'merged'])
    if kind == 'beside':
        text = bomb + text
    elif kind == 'as a value':
        text = bomb + text.replace('gt_size: 16', f'gt_size: *a{depth - 1}')
    elif kind == 'of itself':
        text = text.replace('metrics:', 'metrics: &m\n    loop: *m')
    else:
        text = text.replace('val:\n', 'val:\n  <<: {pbar: true, unknown_one: 1}\n', 1)
    return Mutation(f'aliases {kind}, depth {depth}', text.encode())


def bytes_changed(rng, base, folder, canary):
    text = bytearray(text_of(base))
    kind = rng.choice(['flipped', 'cut', 'noise', 'tabs', 'utf-16', 'latin', 'nul', 'shuffled', 'bom', 'crlf'])
    if kind == 'flipped':
        for _ in range(rng.choice([1, 1, 2, 5, 50])):
            text[rng.randrange(len(text))] ^= 1 << rng.randrange(8)
    elif kind == 'cut':
        del text[rng.randrange(len(text)):]
    elif kind == 'noise':
        text = bytearray(rng.randbytes(rng.randrange(4000)))
    elif kind == 'tabs':
        text = text.replace(b'  ', b'\t')
    elif kind == 'utf-16':
        text = bytearray(text.decode().encode('utf-16'))
    elif kind == 'latin':
        at = rng.randrange(len(text))
        text[at:at] = 'Ã¤Ã'.encode('latin-1', 'ignore') + b'\xe9\xff'
    elif kind == 'nul':
        text[(at := rng.randrange(len(text))):at] = b'\x00'
    elif kind == 'shuffled':
        lines = text.splitlines()
        rng.shuffle(lines)
        text = bytearray(b'\n'.join(lines))
    elif kind == 'bom':
        return Mutation('begins with a byte order mark', b'\xef\xbb\xbf' + text)
    else:
        return Mutation('lines end as on Windows', bytes(text.replace(b'\n', b'\r\n')), ACCEPT)
    return Mutation(f'bytes: {kind}', bytes(text))


def huge(rng, base, folder, canary):
    text = text_of(base)
    kind = rng.choice(['nested lists', 'nested mappings', 'many keys', 'a long text', 'a long comment',
                       'a long number'])
    size = rng.choice([200, 2000, 100000]) if 'nested' in kind else 10**5 if kind == 'a long comment' else 10**6
    more = {'nested lists': f'x: {"[" * size}{"]" * size}\n', 'nested mappings': f'x: {"{a: " * size}{"}" * size}\n',
            'many keys': ''.join(f'k{i}: 1\n' for i in range(20000)), 'a long text': f'x: {"y" * size}\n',
            'a long comment': f'# {"y" * size}\n', 'a long number': f'manual_seed: {"9" * 10000}\n'}[kind]
    if kind == 'a long number':
        text = text.replace(b'manual_seed: 3\n', b'')
    return Mutation(f'{kind}, {size}', text + more.encode(), ACCEPT if kind == 'a long comment' else REFUSE)


def harmless(rng, base, folder, canary):
    """The same options, written in another way."""
    kind = rng.choice(['as it is', 'in flow style', 'keys in another order', 'with comments', 'quoted keys', 'as JSON'])
    opt = deepcopy(base)
    if kind == 'keys in another order':
        keys = list(opt)
        rng.shuffle(keys)
        opt = {key: opt[key] for key in keys}
    text = yaml.safe_dump(opt, sort_keys=False, default_flow_style=kind == 'in flow style')
    if kind == 'with comments':
        text = '# head\n' + text.replace('\n', '  # tail\n')
    elif kind == 'quoted keys':
        text = yaml.safe_dump(opt, sort_keys=False, default_style='"')
    elif kind == 'as JSON':
        text = yaml.safe_dump(opt, sort_keys=False, default_flow_style=True, default_style='"', width=10**6)
    return Mutation(f'the same, {kind}', text.encode(), ACCEPT)


KINDS = {key_misspelt: 12, key_deleted: 10, key_of_another_kind: 5, key_given_twice: 5, blocks_swapped: 8,
         value_replaced: 18, type_replaced: 6, number_scaled: 8, name_escapes: 5, path_special: 8, file_special: 5,
         tag_planted: 6, alias_bomb: 4, bytes_changed: 10, huge: 3, forced: 12, command_line: 3, harmless: 4}
"""Mutations and how often each is drawn, against the others."""
COMPOSED, TWICE = (key_misspelt, key_deleted, blocks_swapped, value_replaced, type_replaced, number_scaled), 0.3
"""Mutations of which two may come together, and how often they do."""
