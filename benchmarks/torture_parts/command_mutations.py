"""Mutations of the launchers' command lines, and paths that are no files to read."""
import os
from pathlib import Path
from typing import NamedTuple

import yaml

from .judge import ACCEPT, EITHER, REFUSE
from .option_oracle import leaves


class Mutation(NamedTuple):
    """What is given to the launcher.

    Attributes:
        words (str): what was done.
        text (bytes): the option file.
        must (str): 'refuse', 'accept' or 'either'.
        arguments (tuple[str, ...]): more of the command line.
        file (str | None): in place of the option file's path.
    """

    words: str
    text: bytes
    must: str = EITHER
    arguments: tuple = ()
    file: str | None = None


def text_of(opt):
    """Options as the bytes of a file."""
    return yaml.safe_dump(opt, sort_keys=False).encode()


def special_path(rng, folder):
    """A path that is no file to read, and its name in words."""
    kind = rng.choice(['a folder', '/dev/zero', '/dev/full', '/dev/null', 'nothing', 'a link to itself', 'a FIFO',
                       'an empty file', 'a file of noise', 'a NUL in the name', 'a long name', 'a home of nobody',
                       'below a file', 'a file without rights', 'an address', 'a link to /dev/zero'])
    made = Path(folder, 'special')
    if kind == 'a folder':
        made.mkdir()
    elif kind == 'a link to itself':
        made.symlink_to(made)
    elif kind == 'a link to /dev/zero':
        made.symlink_to('/dev/zero')
    elif kind == 'a FIFO':
        os.mkfifo(made)
    elif kind in ('an empty file', 'a file without rights'):
        made.touch(0o000 if kind == 'a file without rights' else 0o644)
    elif kind == 'a file of noise':
        made.write_bytes(rng.randbytes(5000))
    elif kind == 'below a file':
        made.touch()
        made = made / 'x'
    return kind, {'/dev/zero': '/dev/zero', '/dev/full': '/dev/full', '/dev/null': '/dev/null',
                  'a NUL in the name': f'{made}\x00x', 'a long name': 'x' * 5000, 'a home of nobody': '~nobody_x/y',
                  'an address': 'https://127.0.0.1:9/x.pth'}.get(kind, str(made))


def file_special(rng, base, folder, canary):
    kind, path = special_path(rng, folder)
    if '\x00' in path:  # no command line can have one
        path = ''
    return Mutation(f'-opt: {kind}', text_of(base), REFUSE, file=path)


def forced(rng, base, folder, canary):
    """``--force_yml`` entries."""
    code = f'__import__("os").system("touch {canary}")'
    path, _ = rng.choice([(path, value) for path, value in leaves(base) if not isinstance(value, dict)])
    path = path.replace('.', ':')
    entry, must = rng.choice([
        (code, REFUSE), (f'a:b=[{code}]', REFUSE), (f'{path}=[{code}]', EITHER), (f'scale=[{code}]', REFUSE),
        (f'scale={code}', REFUSE), (f'"]={code};opt["name=1', REFUSE), (f'name"]=1;{code};opt["x=1', REFUSE),
        ('scale', REFUSE), ('=', REFUSE), ('=3', REFUSE), ('scale=', REFUSE), (':=1', REFUSE), ('', REFUSE),
        ('train:total_itr=3', REFUSE), ('scale:x=1', REFUSE), ('train=3', REFUSE), ('scale=!!python/name:os.system',
                                                                                   REFUSE),
        ('scale==2', REFUSE), ('datasets:train:gt_size=16=16', REFUSE), (f'{path}=', EITHER), (f'{path}=abc', EITHER),
        (f'{path}=-1', EITHER), (f'{path}=~', EITHER), (f'{path}=nan', EITHER), (f'{path}=1e-4', EITHER),
        (f'{path}={{}}', EITHER), (f'{path}=[', EITHER), (f'{path}=' + 'x' * 10000, EITHER), (f'{path}=\udcff', EITHER),
        ('manual_seed=7', ACCEPT), ('scale=2', ACCEPT), ('name=renamed', ACCEPT), ('name=../x', REFUSE),
        ('manual_seed=1e99', REFUSE), ('manual_seed=-1', REFUSE), ('scale=2 ', EITHER), ('scale=0x2', EITHER),
        ('scale=[[[[[[', REFUSE), ('scale=' + '[' * 5000, REFUSE), ('num_gpu=-1', REFUSE)])
    return Mutation(f'--force_yml {entry!a}'[:160], text_of(base), must, ('--force_yml', entry))


def command_line(rng, base, folder, canary):
    arguments, must = rng.choice([
        (('--force_yml', ), REFUSE), (('--launcher', 'none'), ACCEPT), (('--launcher', 'mpi'), REFUSE),
        (('--unknown', ), REFUSE), (('extra', ), REFUSE), (('--local_rank', 'x'), REFUSE),
        (('--launcher', 'pytorch'), REFUSE), (('--debug', ), ACCEPT), (('-opt', '/nowhere/x.yml'), REFUSE),
        (('--launcher', 'slurm'), REFUSE), (('--local_rank=-5', ), EITHER)])
    return Mutation(f'command line {" ".join(arguments)}', text_of(base), must, arguments)
