"""Objects built of option blocks; what their classes refuse is one line with the option's path."""
from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any

from basicsr.utils.registry import Registry

from .errors import UserError, reason_of


def build_from_options(where: str, block: Mapping[str, Any], registry: Registry) -> Any:
    """Build what a block of ``type`` and arguments names; any failure of its class is one line with their path."""
    arguments = deepcopy(dict(block))
    kind = registry.get(arguments.pop('type'))
    try:
        return kind(**arguments)
    except UserError as error:
        raise with_path(error, where, arguments) from None
    except Exception as error:  # any class, any failure
        raise UserError(f'{where}: {kind.__name__} refuses these options: {", ".join(arguments)} '
                        f'({reason_of(error)})') from None


def with_path(error: UserError, where: str = '', arguments: Collection[str] = ()) -> UserError:
    """The error with the full path of its option.

    Losses and mixers begin theirs with the name of their block, networks with that of an argument of theirs, of the
    block at ``where``.
    """
    if re.match(r'[A-Za-z]\w*_opt\.', str(error)):
        return UserError(f'train.{error}')
    return UserError(f'{where}.{error}') if re.split(r'[.:]', str(error), maxsplit=1)[0] in arguments else error
