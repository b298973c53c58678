"""BasicSR's debug mode: a run of a few steps that prints, saves and validates often."""
FREQ = 8
"""Steps between savings, and between validations."""


def is_debug(name: str) -> bool:
    """Whether a run of that name is one: ``debug``, or ``debug_...``. BasicSR takes any name with it in it."""
    return name == 'debug' or name.startswith('debug_')


def set_up_debug(opt: dict) -> None:
    """Change the options of a run in debug mode, and no others."""
    if is_debug(opt['name']):
        opt['logger'].update(print_freq=1, save_checkpoint_freq=FREQ)
        if opt.get('val') is not None:
            opt['val']['val_freq'] = FREQ


def told(name: str) -> str:
    """What is said of the debug mode of a run of that name, a line; empty where it is none."""
    return (f'name: {name} is run in debug mode, as all names that begin with debug_ are: it prints each step, saves '
            f'and validates each {FREQ}, and writes nothing for TensorBoard' if is_debug(name) else '')
