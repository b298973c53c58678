"""A study as its file and the command line say it: what is compared, in which kinds of compression, how long."""
import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from mipkd_arch.base.errors import UserError, one_of, reason_of

T = TypeVar('T')
ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / 'benchmarks/studies'
KIND = 'width'
"""The kind of a study of one option file, and of records that name none."""
BY_DEFAULT = {'data': 'datasets/demo_teacher', 'watch': {}, 'test': {'Set5': 'datasets/benchmark/Set5'},
              'watch_freq': 500, 'lengths': [3000], 'seeds': [0]}
KEYS = [*BY_DEFAULT, 'variants', 'base', 'pairs', 'kinds', 'methods', 'chosen_by', 'longer', 'rivals', 'ours',
        'orderings', 'ablations']
"""What a study's file may have."""


@dataclass(frozen=True)
class Method:
    """A method that is compared, and the trials that it is chosen from."""
    trials: dict[str, dict[str, Any]]
    """Changes of the option file's ``train`` block by the name of the variant."""
    option_file: str | None = None  # instead of that of the kind
    kinds: frozenset[str] | None = None  # that it is for; None: all


class Ordering(NamedTuple):
    """What is published of an ablation: one variant is better than another."""
    statement: str
    better: str
    worse: str


@dataclass(frozen=True)
class Study:
    """What is compared; see the studies' files for examples."""
    name: str
    kinds: dict[str, dict[str, Any]]
    """Of compression, by name: ``opt``, the option file, and ``change``, of it; those of ``is_generated`` are pairs."""
    methods: dict[str, Method]
    lengths: tuple[int, ...]
    """Iterations: all methods train for the first; where there is a second one, some for that, too."""
    seeds: tuple[int, ...]
    data: str
    watch: dict[str, str]  # folders of the sets that are validated on while training, by name
    test: dict[str, str]  # and of those at the end
    watch_freq: int
    base: dict[str, Any] = field(default_factory=dict)  # changes ``train`` for all
    chosen_by: str = 'heldout'  # the watched set by which trials and rivals are chosen
    ours: tuple[str, ...] = ()  # methods that are no rivals
    longer: tuple[str, ...] = ()  # methods of the second length in any case
    rivals: int = 0  # that many others, the best of the first length, are with them
    ablations: dict[str, Method] = field(default_factory=dict)  # variants at the first length in the first kind
    orderings: tuple[Ordering, ...] = ()
    passes: dict[str, list[float]] = field(default_factory=dict)
    """By method how many passes of teacher and student a step takes, where the cost is an estimate."""
    is_flat: bool = False  # variants of one option file, each of them trained alike
    is_generated: bool = False  # kinds are pairs of ``mipkd options``, methods its methods

    def methods_of(self, kind: str) -> dict[str, Method]:
        """Those for one kind."""
        return {name: method for name, method in self.methods.items() if method.kinds is None or kind in method.kinds}

    def method_of(self, kind: str, variant: str) -> Method:
        """The method that has a variant among its trials."""
        return next(method for method in [*self.methods_of(kind).values(), *self.ablations.values()]
                    if variant in method.trials)

    def only(self, kinds: Sequence[str] | None, variants: Sequence[str] | None) -> 'Study':
        """The part of these kinds, methods and ablations; raises UserError where there is none of that name."""
        for option, asked, known in (('--kinds', kinds, self.kinds),
                                     ('--variants', variants, {**self.methods, **self.ablations})):
            for name in asked or ():
                one_of(option, name, known)
        has_first = not kinds or next(iter(self.kinds)) in kinds
        return replace(self, kinds=_named(self.kinds, kinds), methods=_named(self.methods, variants),
                       ablations=_named(self.ablations, variants) if has_first else {})


def _named(known: dict[str, T], asked: Sequence[str] | None) -> dict[str, T]:
    """The entries that are asked for; all where none is."""
    return {name: value for name, value in known.items() if not asked or name in asked}


def read_study(args: argparse.Namespace) -> Study:
    """The study that the command line names, with what it sets."""
    file = Path(args.study or FOLDER / f'{args.preset}.yml')
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f'{file}: is not the file of a study ({reason_of(error)}); benchmarks/studies has '
                        'some') from None
    if not isinstance(content, dict) or not content.keys() & {'variants', 'kinds', 'pairs'}:
        raise UserError(f'{file}: is not the file of a study: it has none of variants, kinds and pairs')
    for name in content:
        one_of(f'{file}: an option', name, KEYS)
    found = {**BY_DEFAULT, **content, **{name: value for name in BY_DEFAULT if (value := getattr(args, name, None))}}
    shared = {'name': file.stem, **{name: found[name] for name in BY_DEFAULT}, 'lengths': tuple(found['lengths']),
              'seeds': tuple(found['seeds'])}
    if 'pairs' in content:
        study = Study(**shared, kinds={pair: {} for pair in content['pairs']}, passes=content['methods'],
                      methods={name: Method({name: {}}) for name in content['methods']}, is_generated=True)
    elif 'variants' in content:
        study = Study(**shared, is_flat=True, kinds={KIND: {'opt': args.opt}}, base=content.get('base') or {},
                      methods={name: Method({name: change or {}}) for name, change in content['variants'].items()})
    else:
        try:
            study = Study(**shared, **_of_preset(content))
        except KeyError as error:
            raise UserError(f'{file}: {error} is not there; benchmarks/studies/small.yml has an example') from None
    return study.only(args.kinds, args.variants)


def _of_preset(content: Mapping[str, Any]) -> dict[str, Any]:
    methods = {name: _method(name, block or {}) for name, block in content['methods'].items()}
    orderings = tuple(Ordering(*entry) for entry in content.get('orderings') or ())
    ablations = {}
    if orderings:
        variants = yaml.safe_load((FOLDER / content['ablations']).read_text())['variants']
        trained = {trial for method in methods.values() for trial in method.trials}
        names = dict.fromkeys(name for entry in orderings for name in (entry.better, entry.worse))
        ablations = {name: Method({name: variants[name] or {}}) for name in names if name not in trained}
    return {'kinds': content['kinds'], 'methods': methods, 'orderings': orderings, 'ablations': ablations,
            'base': content.get('base') or {}, 'chosen_by': content['chosen_by'], 'ours': tuple(content['ours']),
            'longer': tuple(content['longer']), 'rivals': content['rivals']}


def _method(name: str, block: Mapping[str, Any]) -> Method:
    """Of its block: what it changes in ``train``; ``grid``, weights of a loss and rates; ``opt``, ``kinds``."""
    trials = {name: block.get('train') or {}}
    for option, values in (block.get('grid') or {}).items():
        trials = dict(_trial(trial, change, option, value) for trial, change in trials.items() for value in values)
    kinds = block.get('kinds')
    return Method(trials, block.get('opt'), None if kinds is None else frozenset(kinds))


def _trial(name: str, change: dict[str, Any], option: str, value: Any) -> tuple[str, dict[str, Any]]:
    """A variant with one value of a grid: the weight of a loss, or an option of ``train``; None is its default."""
    if value is None:
        return name, change
    if not option.endswith('_opt'):
        return f'{name} {option} {value}', {**change, option: value}
    falling = ' falling' if 'schedule' in change[option] else ''
    return f'{name} {value:g}{falling}', {**change, option: {**change[option], 'loss_weight': value}}


def merged(block: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with another's values; nested mappings are merged, and null removes a key."""
    result = dict(block)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict) and (
                value.get('type', result[name].get('type')) == result[name].get('type')):
            result[name] = merged(result[name], value)
        else:
            result[name] = merged({}, value) if isinstance(value, dict) else value
    return result
