"""Which option of a block makes its class refuse it, found out by building it with others."""
import inspect

from mipkd_arch.base.errors import reason_of, shown

MOST = 40  # options that are tried: each is a network built


def refusal(where, block, target, build, error):
    """What to say of a block that its class refuses, with the options that are at fault as far as that can be found.

    Args:
        where (str): path of the block.
        block (dict): ``type`` and arguments.
        target (type): what they were given to.
        build (callable): builds it with other arguments, or raises.
        error (Exception): that it raised with these.

    Returns:
        str: one line.
    """
    arguments = {name: value for name, value in block.items() if name != 'type'}

    def works(changed):
        try:
            build(changed)
        except Exception:  # any class, any failure
            return False
        return True

    reason = f'{where}: {target.__name__} refuses these options ({reason_of(error)})'
    for name, value in arguments.items():
        if (whole := _whole(value)) is not value and works({**arguments, name: whole}):
            return f'{reason}; {where}.{name}: {shown(value)} is not of whole numbers: write {shown(whole)}'
    parameters = inspect.signature(target).parameters
    optional = [name for name in arguments if name in parameters
                and parameters[name].default is not inspect.Parameter.empty][:MOST]
    guilty = [name for name in optional if works({key: value for key, value in arguments.items() if key != name})]
    if len(guilty) == 1:
        name, = guilty
        return (f'{reason}; {where}.{name}: {shown(arguments[name])} is at fault, and its default, '
                f'{shown(parameters[name].default)}, would do')
    if guilty:
        named = ' and '.join(f'{name}: {shown(arguments[name])}' for name in guilty)
        return f'{reason}; {named} do not go together, and the default of one of them would do'
    return reason


def _whole(value):
    """The value with whole numbers in place of those written with a point; itself where there are none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (list, tuple)) and any(_whole(item) is not item for item in value):
        return [_whole(item) for item in value]
    return value
