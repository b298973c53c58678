"""The page of all options, ``docs/options.md``, from the schema and the signatures of losses, mixers and networks."""
from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mipkd_arch.base.arguments import RENAMED, arguments_model
from mipkd_arch.base.errors import shown
from mipkd_arch.base.option_types import describe, doc_of
from mipkd_arch.prior_mixer import GIVEN, FeaturePriorMixer

from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY, Registry

from ..schema import options as schema
from ..schema import training
from ..schema.data import PairedOptions, PairedSRTrainOptions

HEAD = '''\
# Options

Every option that a run of `MiPKDModel` reads. An option file is YAML; `mipkd options` writes complete ones, `mipkd
check FILE` lists all that is wrong with one, and the launchers refuse it for the same reasons before anything is made.
An option that nothing reads is a mistake, so a misspelled one is found. This page is written by
`mipkd options page --out docs/options.md`.

- Numbers may be written `0.0001`, `1e-4` or `!!float 1e-4`, integers also `5e3`. BasicSR's own reader takes `1e-4` for
  a string, so the files of this package have `!!float 1e-4`, which both read alike.
- `true`, `yes` and `on` are true; `false`, `no` and `off` are false; null is written `~`. A string such as `on` needs
  quotes. `None` is null in Python only, so it is refused; `none` is a string, and a value of some options.
- An option twice in one mapping, a tag other than those of plain values, `<<` and names that are no strings are
  refused. `*alias` works.
- `--force_yml train:ema_decay=0.99 val:save_img=true` changes options for one start. Values are read as in the file,
  before anything is checked, and may be lists: `train:optim_g:betas=[0.9,0.99]`.
  `train.ema_decay=0.99`, as messages write paths, is the same.
- Paths are relative to the folder that a command is started in, and may begin with `~/`.
- `mipkd options page --plugins DIR` prints this page with the networks and losses of your own that a folder has.
'''
SECTIONS: tuple[tuple[str, type[BaseModel], str], ...] = (
    ('The whole file', schema.TrainingFile, 'Trainings need `train` and `logger`, tests `val`.'),
    ('`table`', schema.TableOptions, ''),
    ('`datasets.train`', PairedSRTrainOptions, ''),
    ('`datasets.val`, `val_<name>`, `test_<name>`', PairedOptions,
     'Trainings measure on `val` and any number of `val_<name>`, tests on `test_<name>` or `val`.'),
    ('`path`', schema.PathOptions, ''),
    ('`train`', training.TrainOptions,
     'Any other `<name>_opt` is a loss as well, of a type of [those below](#losses) or of your own '
     '([baselines.md](baselines.md)). Weight 0 leaves a loss out.'),
    ('`train.<name>_opt.schedule`', training.ScheduleOptions,
     'Any loss may have it: how its weight changes over the training. The log shows losses as weighted.'),
    ('`train.optim_g`', training.OptimizerOptions, 'Other arguments of the optimizer in PyTorch are accepted, too.'),
    ('`train.scheduler` of type `MultiStepLR`', training.StepsSchedulerOptions,
     '`MultiStepRestartLR` is another name of it.'),
    ('`train.scheduler` of type `CosineAnnealingRestartLR`', training.CosineSchedulerOptions, ''),
    ('`val`', schema.ValidationOptions, ''),
    ('`val.metrics.<name>`', schema.MetricOptions, 'Other arguments are those of the metric.'),
    ('`logger`', schema.LoggerOptions, ''),
    ('`logger.wandb`', schema.WandbOptions, ''),
    ('`dist_params`', schema.DistOptions, ''),
)


def text_of_page() -> str:
    """The whole page, Markdown."""
    parts = [HEAD, *(_section(title, text, _rows(model)) for title, model, text in SECTIONS)]
    parts.append('## Losses\n\nBlocks `train.<name>_opt`. [baselines.md](baselines.md) and [mipkd.md](mipkd.md) have '
                 'the formulas.\n')
    parts += [_class_section(name, kind) for name, kind in _ours(LOSS_REGISTRY)]
    parts.append(_class_section('train.mixer_opt', FeaturePriorMixer, GIVEN))
    parts.append('## Networks\n\nTypes of `network_g` and `network_t`, besides those of BasicSR.\n')
    parts += [_class_section(name, kind) for name, kind in _ours(ARCH_REGISTRY)]
    refused: dict[str, str] = {}
    for title, model, _ in SECTIONS:
        for name, why in getattr(model, 'refused', {}).items():
            refused.setdefault(name, f'- `{name}` ({title}): {why}.')
    old = [f'- `{name}` of `{kind}` is `{new}` now. {"; ".join(f"`{a}` is `{b}`" for a, b in values.items())}.'
           for (kind, name), (new, values) in RENAMED.items()]
    parts.append('\n'.join(['## Options that are refused', '', *refused.values(), '',
                            '## Old names, which this version still accepts', '', *old, '']))
    return '\n'.join(parts)


def _ours(registry: Registry) -> list[tuple[str, Any]]:
    """What is registered besides BasicSR's own: names and classes, or functions; those of plugins, too."""
    return sorted(((name, kind) for name, kind in registry if not str(kind.__module__).startswith('basicsr.')),
                  key=lambda entry: entry[0])


def _rows(model: type[BaseModel]) -> list[list[str]]:
    rows = []
    for name, field in model.model_fields.items():
        if field.alias == '<name>_opt':  # losses
            rows += [[key, 'a mapping or null', '`~`', about] for key, about in training.NAMED_LOSSES.items()]
        else:
            rows.append([field.alias or name, describe(field), _default(field), field.description or ''])
    return rows


def _section(title: str, text: str, rows: list[list[str]], level: int = 2) -> str:
    lines = [f'{"#" * level} {title}', '', *([text, ''] if text else [])]
    lines += ['| option | value | default | meaning |', '|---|---|---|---|'] if rows else []
    lines += [f'| `{name}` | {" | ".join(map(_cell, cells))} |' for name, *cells in rows]
    return '\n'.join([*lines, ''])


def _cell(text: str) -> str:
    return ' '.join(text.split()).replace('\\', '\\\\').replace('|', '\\|').replace('<', '&lt;')


def _default(field: FieldInfo) -> str:
    return doc_of(field).default or ('required' if field.is_required() else _written(field.default))


def _written(value: Any) -> str:
    """A value as an option file has it; of a class or function its name, of any other object its class."""
    if value is None:
        return '`~`'
    if isinstance(value, bool):
        return f'`{str(value).lower()}`'
    if isinstance(value, str):
        return value if ' ' in value or not value.isprintable() else f'`{value}`'
    if isinstance(value, (tuple, list, int, float, Mapping)):
        return f'`{shown(list(value) if isinstance(value, tuple) else value)}`'
    name = getattr(value, '__name__', None)
    return f'`{name}`' if isinstance(name, str) else f'a value of class {type(value).__name__}'


def _class_section(title: str, kind: Any, given: tuple[str, ...] = ()) -> str:
    text = getattr(kind, '__doc__', None)
    about = inspect.cleandoc(text) if isinstance(text, str) else ''
    about = ' '.join(re.split(r'\n\s*\n|:\n', about)[0].split()).replace('``', '`')
    about = re.sub(r'^(?=[#>|=+*~-]|\d+[.)])', r'\\', about.replace('<', '&lt;'))  # a sentence, whatever it begins with
    return _section(f'`{title}`', about, _rows(arguments_model(kind, given)), level=3)
