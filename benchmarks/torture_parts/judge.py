"""Verdicts: what a child may and may not do, and whether anything that was there is lost."""
import hashlib
import os
import re
import signal
from pathlib import Path
from typing import NamedTuple

REFUSE, ACCEPT, EITHER = 'refuse', 'accept', 'either'
CURSOR = re.compile(r'\x1b\[[0-9;]*[A-Za-z]')
ENOUGH = '# enough iterations: stopped by the benchmark'
KINDS = {
    'tracebacks': 'a traceback was printed', 'hangs': 'it did not end', 'signals': 'a signal ended it',
    'code_run': 'code from the input was run', 'silent': 'it failed, but not by one line that begins with "error: "',
    'wrongly_accepted': 'bad input was taken', 'wrongly_refused': 'good input was refused',
    'lost': 'a file that was there is gone or changed', 'escaped': 'something was written outside its folder',
    'unequal': 'the result differs from the undisturbed one',
    'left_behind': 'processes or half-written files were left behind',
}


class Trouble(NamedTuple):
    """One thing that must not be: its kind, of ``KINDS``, and what was seen."""

    kind: str
    seen: str


def accepted(outcome):
    """Whether a child ended well, or was stopped by the benchmark because it worked."""
    return outcome.status == 0


def error_lines(outcome):
    """Lines that say what was wrong."""
    lines = CURSOR.sub('\n', outcome.stderr).splitlines()  # progress bars go up a line before they vanish
    found = [line for line in lines if line.startswith('error: ')]
    if not found and outcome.status == 2 and 'usage: ' in outcome.stderr:  # argparse's own
        found = [line for line in lines if re.match(r'\S+: error: ', line)]
    return found


def judge(outcome, must=EITHER, expected_signal=None):
    """What was wrong with the end of a child.

    Args:
        outcome (Outcome): of the child.
        must (str): what it had to do with its input.
        expected_signal (int | None): one it was sent. It may end by it, or with 128 + its number.

    Returns:
        list[Trouble]: empty where all is well.
    """
    found, output = [], outcome.stdout + outcome.stderr
    if 'Traceback (most recent call last)' in output:
        found.append(Trouble('tracebacks', _last_lines(output)))
    if outcome.hang:
        return [*found, Trouble('hangs', f'still running after {outcome.seconds:.0f} s')]
    if outcome.left and ENOUGH not in outcome.stdout:
        found.append(Trouble('left_behind', 'processes ran on after its end'))
    if outcome.signal:
        if outcome.signal != expected_signal:
            found.append(Trouble('signals', f'ended by {signal.Signals(outcome.signal).name}'))
        return found
    if expected_signal and outcome.status == 128 + expected_signal:
        return found
    if outcome.status:
        lines = error_lines(outcome)
        if not found and (len(lines) != 1 or not lines[0].isprintable()):
            found.append(Trouble('silent', f'status {outcome.status}, {len(lines)} lines of error: '
                                           f'{_last_lines(outcome.stderr)}'))
        if must == ACCEPT:
            found.append(Trouble('wrongly_refused', _last_lines(outcome.stderr)))
    elif must == REFUSE:
        found.append(Trouble('wrongly_accepted', _last_lines(outcome.stdout)))
    return found


def _last_lines(text):
    return ' | '.join(line.strip() for line in text.strip().splitlines()[-3:])[-400:]


def hashes(*folders):
    """SHA-256 of all files below some folders.

    Returns:
        dict[Path, dict[str, str]]: by folder, and in it by path relative to the folder.
    """
    found = {}
    for folder in map(Path, folders):
        files = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
        found[folder] = {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
                         for file in sorted(files) if file.is_file() and not file.is_symlink()}
    return found


def losses(before, root=None):
    """Files that changed or vanished.

    Args:
        before (dict): what ``hashes`` gave.
        root (Path | None): the results root, below which a run's folder may have been renamed to ``*_archived_*``.

    Returns:
        list[Trouble]: one for each folder that lacks something.
    """
    found = []
    for folder, files in before.items():
        places = [folder, *folder.parent.glob(f'{folder.name}_archived_*')]
        now = hashes(*places).values()
        gone = [name for name, digest in files.items() if not any(place.get(name) == digest for place in now)]
        if gone:
            found.append(Trouble('lost', f'{folder if root is None else folder.relative_to(root)}: {len(gone)} files '
                                         f'changed or gone, such as {gone[0]}'))
    return found


def code_ran(canary):
    """Trouble where the file exists that only code from the input makes; it is removed for the next case."""
    if not canary.exists():
        return []
    canary.unlink()
    return [Trouble('code_run', 'the canary was made')]


def newcomers(folder, known):
    """Trouble where a folder has entries that are not known."""
    new = sorted(set(os.listdir(folder)) - set(known))
    return [Trouble('escaped', f'{folder}: {", ".join(new[:3])!a}')] if new else []
