"""Whether a block of options has the arguments of what it names."""
import inspect

from mipkd_arch.errors import UserError, near_miss


def check_arguments(where, block, target, given=()):
    """Check that a block has what the call of ``target`` takes, beside the arguments that are ``given`` otherwise.

    Raises:
        UserError: on the first name that it does not take, or needs and has not.
    """
    parameters = inspect.signature(target).parameters
    named = [name for name, p in parameters.items()
             if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name not in given]
    own = not target.__module__.startswith('basicsr.')
    swallows = own and any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in block:
        if name not in named and not swallows:
            raise UserError(f'{where}.{name}: {target.__name__} has no such option{near_miss(name, named)}; it has '
                            f'{", ".join(named)}')
    for name in named:
        if parameters[name].default is inspect.Parameter.empty and name not in block:
            raise UserError(f'{where}.{name}: missing, {target.__name__} needs it')
