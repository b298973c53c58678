"""The identity of a run: all options that decide its weights, so that a resumed run can be compared with it."""
from collections.abc import Container, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mipkd_arch.base.arguments import RENAMED

from ..base.files import file_sha256
from ..losses.schedule import WeightSchedule
from ..networks.catalog import teachers_of
from .optimizer import IMPLEMENTATIONS

# With other values of these it is the same run, longer or shorter, or computed in another way.
FREE = {'total_iter', 'precision', 'channels_last', 'compile', 'accumulate', 'nonfinite'}
FREE_OF_DATA = {'name', 'phase', 'scale', 'dataroot_gt', 'dataroot_lq', 'batch_size_per_gpu', 'num_worker_per_gpu',
                'pin_memory', 'persistent_workers', 'io_backend', 'prefetch_mode', 'num_prefetch_queue'}
FREE_OF_BLOCKS = {*IMPLEMENTATIONS, 'recompute'}


def identity(opt: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the weights of a run: plain values by paths of options, without null.

    The batch is that of all processes together, and the teacher's weights are in it by their SHA-256, wherever the
    file is.
    """
    train, data = opt['train'], opt['datasets']['train']
    found = {
        'scale': opt['scale'], 'manual_seed': opt['manual_seed'], 'network_g': _by_content(opt.get('network_g')),
        'train': {name: _in_iterations(_without(block, FREE_OF_BLOCKS), name, train)
                  for name, block in train.items() if name not in FREE},
        'datasets.train': _without(data, FREE_OF_DATA),
        'datasets.train.batch_size_per_gpu x processes': data['batch_size_per_gpu'] * opt['world_size']}
    if opt.get('network_t') is not None:
        found['network_t'] = _by_content(_without(opt['network_t'], ('file', )))
        found['teacher (SHA-256 of its weights)'] = teacher_sha256(opt)
    return dict(flat(found))


def teacher_sha256(opt: Mapping[str, Any]) -> str | None:
    """SHA-256 of the file of the teacher's weights; None where there is no such file."""
    return _sha256_of(opt['path'].get('pretrain_network_t') or opt['network_t'].get('file'))


def _by_content(block: Any) -> Any:
    """A network's block in which the teachers that it consists of name their files by the SHA-256."""
    teachers = {name: {**teacher, 'file': _sha256_of(teacher.get('file'))}
                for name, teacher in teachers_of(block).items()}
    return {**block, 'teachers': teachers} if teachers else block


def _sha256_of(path: str | None) -> str | None:
    if path is None or not (file := Path(path).expanduser()).is_file():
        return None
    return _sha256(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _sha256(file: Path, changed: int) -> str:
    return file_sha256(file)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Paths at which two identities differ, with both values; None stands for null."""
    before, now = _renamed(before), _renamed(now)
    return [(path, before.get(path), now.get(path)) for path in {**before, **now} if before.get(path) != now.get(path)]


def _renamed(found: Mapping[str, Any]) -> dict[str, Any]:
    """An identity with the present names of arguments, for that of an older run has their former ones."""
    current = {}
    for path, value in found.items():
        block, _, name = path.rpartition('.')
        new, values = RENAMED.get((str(found.get(f'{block}.type')), name), (name, {}))
        current[f'{block}.{new}' if new != name else path] = values.get(str(value), value)
    return current


def flat(value: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Plain values of nested options with their paths, without null."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from flat(inner, f'{path}.{name}' if path else str(name))
    elif value is not None:
        yield path, _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _without(block: Any, names: Container[str]) -> Any:
    return {name: value for name, value in block.items() if name not in names} if isinstance(block, dict) else block


def _in_iterations(block: Any, name: str, train: Mapping[str, Any]) -> Any:
    """A loss's block whose schedule is complete and in iterations, so that it is the same for another total_iter."""
    if not isinstance(block, dict) or not isinstance(block.get('schedule'), dict):
        return block
    schedule = WeightSchedule.of(block['schedule'], f'train.{name}.schedule', train['total_iter'])
    return {**block, 'schedule': schedule.model_dump()}
