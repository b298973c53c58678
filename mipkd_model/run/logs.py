"""The log of a run: a file with everything, and a screen with what whoever starts it wants to see."""
from __future__ import annotations

import logging
from typing import Any

import torch

import basicsr.utils.logger
from basicsr.utils.dist_util import get_dist_info, master_only

from ..base.progress import beside_bar, note_losses, start_bar
from ..evaluation.provenance import device_name
from ..schema.training import active_losses
from ..training.precision import uses_bf16

FILE_ONLY = {'build_dataset', 'build_dataloader', 'build_network', 'build_loss', 'build_model'}
"""Functions of BasicSR that repeat what other lines of the log tell."""
UNTRUE = 'Multiple validation datasets are *only* supported by SRModel.'
"""BasicSR's loop logs it for every model; MiPKDModel keeps the figures of each dataset apart."""


class ForFile(str):
    """A text that is in the log's file, and not on the screen."""


class ScreenHandler(logging.StreamHandler):
    """Writes to the screen, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        with beside_bar():
            super().emit(record)


def get_root_logger(logger_name: str = 'basicsr', log_level: int = logging.INFO,
                    log_file: str | None = None) -> logging.Logger:
    """As BasicSR's: that of rank 0 writes to the screen and, in UTF-8, to the file."""
    logger = logging.getLogger(logger_name)
    known = basicsr.utils.logger.initialized_logger
    if logger_name in known:
        return logger
    known[logger_name] = True
    logger.propagate = False
    logger.addFilter(lambda record: record.msg != UNTRUE)
    handlers: list[logging.Handler] = [ScreenHandler()]
    handlers[0].addFilter(lambda record: not isinstance(record.msg, ForFile) and (
        record.levelno > logging.INFO or record.funcName not in FILE_ONLY))
    if get_dist_info()[0] != 0:
        logger.setLevel(logging.ERROR)
    elif log_file is not None:
        logger.setLevel(log_level)
        handlers.append(logging.FileHandler(log_file, 'w', encoding='utf-8'))
    for handler in handlers:
        handler.setFormatter(logging.Formatter('%(asctime)s %(levelname)s: %(message)s'))
        logger.addHandler(handler)
    return logger


class FileOnly(logging.LoggerAdapter):
    """A logger whose messages are in the log's file, and not on the screen."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return ForFile(msg), kwargs


class MessageLogger(basicsr.utils.logger.MessageLogger):
    """BasicSR's, which gives TensorBoard the learning rates, too, and shows a progress bar on a terminal.

    The rates are ``lr``, of the student, and ``lr_2``, of all else that is trained. With the bar, lines of losses are
    in the file alone. The estimate of the time left counts the iteration that was made, too.
    """
    logger: Any

    def __init__(self, opt: dict[str, Any], start_iter: int = 1, tb_logger: Any = None) -> None:
        super().__init__(opt, start_iter, tb_logger)
        self.max_iters += 1
        if opt['rank'] == 0 and start_bar(int(opt['train']['total_iter']), start_iter):
            self.logger = FileOnly(self.logger, {})

    @master_only
    def __call__(self, log_vars: dict[str, Any]) -> None:
        for number, rate in enumerate(log_vars['lrs'] if self.tb_logger else (), 1):
            self.tb_logger.add_scalar('lr' if number == 1 else f'lr_{number}', rate, log_vars['iter'])
        note_losses(log_vars)
        super().__call__(log_vars)


def summary(opt: dict[str, Any]) -> str:
    """Name, folder, losses, length, schedule and device of a run, a line each.

    Args:
        opt: all options, complete; those of BasicSR's other models may lack any of them.
    """
    table, device = opt.get('table') or {}, torch.device('cuda' if opt['num_gpu'] else 'cpu')
    method = ', '.join(str(table[name]) for name in ('method', 'pair') if name in table)
    kind = ('training' if opt['is_train'] else 'test') + (f' ({method}, x{opt["scale"]})' if method else '')
    lines = [f'{opt["name"]}: {kind} in {opt["path"]["log"]}, whose log has all options and the environment']
    precision = 'fp32'
    if opt['is_train']:
        lines += _training_lines(opt)
        precision = opt['train'].get('precision', 'auto')
        if precision != 'tf32':
            precision = 'bf16' if uses_bf16(precision, device) else 'fp32'
    return '\n'.join([*lines, f'  device: {device_name(device)}, {precision}'])


def _training_lines(opt: dict[str, Any]) -> list[str]:
    train, data = opt['train'], opt['datasets']['train']
    losses = [f'{name.removesuffix("_opt")} {block["type"]} x {block.get("loss_weight", 1)}'
              for name, block in active_losses(train).items()]
    start = f', from iteration {opt["start_iter"]:,} on' if opt.get('start_iter') else ''
    size = f' of {data["gt_size"]}x{data["gt_size"]}' if data.get('gt_size') else ''
    ranks = f' on each of {opt["world_size"]} ranks' if opt['world_size'] > 1 else ''
    lines = [f'  losses: {", ".join(losses)}', f'  length: {int(train["total_iter"]):,} iterations{start} of '
             f'{data.get("batch_size_per_gpu")} crops{size}{ranks}']
    blocks = [', '.join(str(value) if name == 'type' else f'{name} {value}' for name, value in train[key].items())
              for key in ('optim_g', 'scheduler') if train.get(key)]
    return [*lines, f'  schedule: {"; ".join(blocks)}']
