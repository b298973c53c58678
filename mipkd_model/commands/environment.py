"""``mipkd environment``: what a report of a bug should begin with."""
from ..run.environment import report


def environment(args):
    """Print what the head of a run's log says of versions, devices and the code's state."""
    print(report())


def add(commands):
    """Add the parser of ``mipkd environment``.

    Args:
        commands: what ``add_subparsers`` gave.
    """
    parser = commands.add_parser(
        'environment', help='print versions, devices and the state of the code',
        description='Print versions, devices and the state of the code, for a report of a bug. Names of users and '
                    'machines are not in it.', epilog='example: mipkd environment > report.txt')
    parser.set_defaults(run=environment)
