"""What a user may call a network: an option file, a pair of the compared runs, or the block itself."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mipkd_arch.base.errors import UserError

from ...config import plugins
from ...config.checks import read_options
from ...experiments.networks import student_block, teacher_block
from ...experiments.runs import parse_pair


@dataclass(frozen=True)
class Target:
    """One network that is meant."""
    name: str
    """The pair, the stem of the option file, or 'block'."""
    role: str
    """'teacher', 'student', or 'network' where it is neither."""
    block: dict[str, Any]
    """Its option block: ``type`` and arguments."""
    where: str
    """What errors call it."""

    @property
    def key(self) -> str:
        """The same text for the same block."""
        return repr(self.block)


def parse_target(text: str) -> list[Target]:
    """The networks that a text means: one, or a teacher and its student.

    Args:
        text: an option file, whose plugins are then in use; a pair such as ``SwinIR-EDSR_x4``; or a network's block
            in YAML, in braces.

    Raises:
        UserError: it is none of these.
    """
    if text.lstrip().startswith('{'):
        return [Target('block', 'network', _parse_block(text), 'TARGET')]
    file = Path(text)
    if file.suffix in ('.yml', '.yaml') or file.is_file():
        if not file.is_file():
            raise UserError(f'TARGET: {text}: no such option file')
        opt, name = read_options(file), file.stem
        if opt.get('network_g') is None:
            raise UserError(f'TARGET: {text}: has no network_g; it is no option file of a network')
        plugins.use_more(opt.get('plugins'))
        blocks = opt.get('network_t'), opt['network_g']
    else:
        try:
            pair, name = parse_pair(text), text
        except UserError as error:
            raise UserError(f'TARGET: {str(error).removeprefix("PAIR: ")}; or an option file, or a block in '
                            'braces') from None
        blocks = teacher_block(pair.teacher, pair.scale)[0], student_block(pair.student, pair.scale)
    return [Target(name, role, block, f'{text}: network_{label}')
            for role, label, block in zip(('teacher', 'student'), 'tg', blocks, strict=True) if block is not None]


def _parse_block(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = getattr(error, 'problem', None) or 'not a YAML text'
        raise UserError(f'TARGET: {" ".join(text.split())!r}: {reason}; a block looks like this: {{type: EDSRStudent, '
                        'upscale: 4}') from None
