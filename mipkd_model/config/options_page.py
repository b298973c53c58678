"""The page of all options, ``docs/options.md``, from the tables of ``schema`` and from docstrings."""
import inspect
import re

from mipkd_arch.base.errors import shown
from mipkd_arch.prior_mixer import FeaturePriorMixer

from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY

from . import schema
from .arguments import parameters_of
from .schema import NEEDED

EMPTY = inspect.Parameter.empty
KINDS = {'int': 'a whole number', 'float': 'a number', 'bool': 'true or false', 'str': 'a text', 'None': '~',
         'sequence[int]': 'a list of whole numbers', 'sequence[float]': 'a list of numbers'}
"""What docstrings call kinds of values, in the words of the tables."""
HEAD = '''\
# Options

Every option that a run of `MiPKDModel` reads. An option file is YAML; `mipkd options` writes complete ones, `mipkd
check FILE` says all that is wrong with one, and the launchers refuse it for the same reasons before anything is made.
An option that nothing reads is a mistake, so a misspelt one is found. This page is written by
`mipkd options --page --out docs/options.md`.

- Numbers may be written `0.0001`, `1e-4` or `!!float 1e-4`, whole numbers of steps also `5e3`. BasicSR's own reader
  takes `1e-4` for a text, so the files of this package have `!!float 1e-4`, which both read alike.
- `true`, `yes` and `on` are true; `false`, `no` and `off` are false; `~` is nothing. A name such as `on` needs quotes.
  `None` is nothing in Python alone, so it is refused; `none` is a text, and a value of some options.
- An option twice in one block, a tag other than those of plain values, `<<` and names that are no texts are refused.
  `*alias` works; what it stands for is counted at each place.
- `--force_yml train:ema_decay=0.99 val:save_img=true` changes options for one start. Values are read as in the file,
  before anything is checked, and may be lists: `train:optim_g:betas=[0.9,0.99]`.
  `train.ema_decay=0.99`, as messages write paths, is the same.
- Paths are relative to the folder that a command is started in, and may begin with `~/`.
- `mipkd options --page --plugins DIR` prints this page with the networks and losses of your own that a folder has.
'''
SECTIONS = (
    ('The whole file', schema.TOP, 'A training needs `train` and `logger`, a test `val`.'),
    ('`table`', schema.TABLE, ''),
    ('`datasets.train`', schema.TRAIN_DATA, ''),
    ('`datasets.val`, `val_<name>`, `test_<name>`', schema.DATA,
     'Trainings measure on `val` and any number of `val_<name>`, tests on `test_<name>` or `val`.'),
    ('`path`', schema.PATH, ''),
    ('`train`', schema.TRAIN,
     'Any other `<name>_opt` is a loss as well, of a type of [those below](#losses) or of your own '
     '([methods.md](methods.md)). Weight 0 leaves a loss out.'),
    ('`train.<name>_opt.schedule`', schema.SCHEDULE,
     'Any loss may have it: how its weight changes over the training. In the log the loss is shown as weighted.'),
    ('`train.optim_g`', schema.OPTIMIZER, 'Other arguments of the optimizer in PyTorch are taken, too.'),
    *((f'`train.scheduler` of type `{name}`', table, text) for name, table, text in (
        ('MultiStepLR', schema.SCHEDULERS['MultiStepLR'], '`MultiStepRestartLR` is another name of it.'),
        ('CosineAnnealingRestartLR', schema.SCHEDULERS['CosineAnnealingRestartLR'], ''))),
    ('`val`', schema.VAL, ''),
    ('`val.metrics.<name>`', schema.METRIC, ''),
    ('`logger`', schema.LOGGER, ''),
    ('`logger.wandb`', schema.WANDB, ''),
    ('`dist_params`', schema.DIST, ''),
)


def text_of_page():
    """The whole page, Markdown."""
    parts = [HEAD]
    for title, table, text in SECTIONS:
        parts.append(_section(title, text, [(name, str(option.kind), _default(option), option.about)
                                            for name, option in table.items()]))
    parts.append('## Losses\n\nBlocks `train.<name>_opt`. [methods.md](methods.md) and [method.md](method.md) have the '
                 'formulas.\n')
    parts += [_class_section(name, kind) for name, kind in _ours(LOSS_REGISTRY)]
    parts.append(_class_section('train.mixer_opt', FeaturePriorMixer, ('num_feat_s', 'num_feat_t')))
    parts.append('## Networks\n\nTypes of `network_g` and `network_t`, beside those of BasicSR.\n')
    parts += [_class_section(name, kind) for name, kind in _ours(ARCH_REGISTRY)]
    gone = [f'- `{path}`: {why}.' for path, why in schema.GONE.items()]
    gone += [f'- `{name}` of BasicSR\'s data sets: {why}.' for name, why in schema.UNFIT_DATA.items()]
    parts.append('\n'.join(['## Options of BasicSR that are refused', '', *gone, '']))
    return '\n'.join(parts)


def _ours(registry):
    """What is registered beside BasicSR's own: names and classes, or functions; those of plugins, too."""
    return sorted(((name, kind) for name, kind in registry if not str(kind.__module__).startswith('basicsr.')),
                  key=lambda entry: entry[0])


def _section(title, text, rows, level=2):
    head = [f'{"#" * level} {title}', '']
    head += [text, ''] if text else []
    table = ['| option | value | default | meaning |', '|---|---|---|---|']
    table += ['| ' + ' | '.join([f'`{name}`', *(_cell(cell) for cell in cells)]) + ' |' for name, *cells in rows]
    return '\n'.join([*head, *(table if rows else []), ''])


def _cell(text):
    text = ' '.join(text.split()).replace('\\', '\\\\').replace('|', '\\|').replace('<', '&lt;')
    return re.sub('(?<!`)~(?![`/])', '`~`', text)


def _default(option):
    if option.default is NEEDED:
        return 'needed' if option.tests is None else 'needed to train'
    return _written(option.default) + ('; needed to test' if option.tests is NEEDED else '')


def _written(value):
    """A value as an option file has it; of a class or function its name, of any other object its class."""
    if value is None:
        return '`~`'
    if isinstance(value, bool):
        return '`true`' if value else '`false`'
    if isinstance(value, (tuple, list)):
        return f'`{shown(list(value))}`'
    if isinstance(value, str):
        return value if ' ' in value or not value.isprintable() or value == 'PyTorch\'s' else f'`{value}`'
    if isinstance(value, (int, float, dict)):
        return f'`{shown(value)}`'
    name = getattr(value, '__name__', None)
    return f'`{name}`' if isinstance(name, str) else f'a value of class {type(value).__name__}'


def _class_section(title, kind, given=()):
    described, rows, text = _described(kind), [], _docstring(kind)
    for name, parameter in (parameters_of(kind) or {}).items():
        if name in given or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value, about = described.get(name, ('', ''))
        if not value and parameter.annotation is not EMPTY:
            value = _kinds(inspect.formatannotation(parameter.annotation).strip('\'"'))
        default = 'needed' if parameter.default is EMPTY else _written(parameter.default)
        rows.append((name, value, default, about))
    about = ' '.join(re.split(r'\n\s*\n|:\n', text)[0].split()).replace('``', '`')
    about = re.sub(r'^(?=[#>|=+*~-]|\d+[.)])', r'\\', about.replace('<', '&lt;'))  # a sentence, whatever it begins with
    return _section(f'`{title}`', about, rows, level=3)


def _docstring(kind):
    """Of the class itself, not of what it is derived from; '' where it has none."""
    text = getattr(kind, '__doc__', None)
    return inspect.cleandoc(text) if isinstance(text, str) else ''


def _described(kind, seen=()):
    """What the docstrings of a class say of its arguments: (value, meaning) by name."""
    text, found = _docstring(kind), {}
    for other in re.findall(r'The others are those of ``(\w+)``', text):
        if other in ARCH_REGISTRY and other not in seen:
            found.update(_described(ARCH_REGISTRY.get(other), (*seen, other)))
    block = re.search(r'^Args:\n((?:    .*\n?|\n)+)', text, re.M)
    entries = re.findall(r'^    ([\w, ]+?)(?: \((.*?)\))?: (.*(?:\n {8,}.*)*)', block[1] if block else '', re.M)
    for names, value, about in entries:
        about = re.sub(r'\s*Default: .*', '', ' '.join(about.split())).replace('``', '`').rstrip('.')
        for name in names.split(', '):
            found[name] = _kinds(value), about[:1].upper() + about[1:] + ('.' if about else '')
    return found


def _kinds(text):
    """A type of Python's in the words of the tables."""
    return ' or '.join(KINDS.get(kind, kind) for kind in text.split(' | '))
