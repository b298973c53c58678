"""The log of a run: a file with everything, and a screen with what whoever starts it wants to see."""
from __future__ import annotations

import logging
from typing import Any

import basicsr.utils.logger
from basicsr.utils.dist_util import get_dist_info

from .debug import is_debug

FILE_ONLY = {'build_dataset', 'build_dataloader', 'build_network', 'build_loss', 'build_model'}
"""Functions of BasicSR that repeat what other lines of the log tell."""
UNTRUE = 'Multiple validation datasets are *only* supported by SRModel.'
"""BasicSR's loop logs it for every model; MiPKDModel keeps the figures of each dataset apart."""


class ForFile(str):
    """A text for the log's file, instead of which the screen shows ``screen``, or, if that is empty, nothing."""
    screen = ''

    @classmethod
    def of(cls, text: str, screen: str) -> ForFile:
        """Such a text with another one for the screen."""
        made = cls(text)
        made.screen = screen
        return made


class _Screen(logging.StreamHandler):
    """Standard error, without what is meant for the file."""

    def filter(self, record: logging.LogRecord) -> Any:
        hidden = isinstance(record.msg, ForFile) and not record.msg.screen
        return not (hidden or record.levelno == logging.INFO and record.funcName in FILE_ONLY)

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, ForFile):
            record = logging.makeLogRecord({**vars(record), 'msg': record.msg.screen})
        return super().format(record)


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
    handlers: list[logging.Handler] = [_Screen()]
    if get_dist_info()[0] != 0:
        logger.setLevel(logging.ERROR)
    elif log_file is not None:
        logger.setLevel(log_level)
        handlers.append(logging.FileHandler(log_file, 'w', encoding='utf-8'))
    for handler in handlers:
        handler.setFormatter(logging.Formatter('%(asctime)s %(levelname)s: %(message)s'))
        logger.addHandler(handler)
    return logger


class MessageLogger(basicsr.utils.logger.MessageLogger):
    """BasicSR's, but its estimate of the time left counts the iteration that was made, too."""

    def __init__(self, opt: dict[str, Any], start_iter: int = 1, tb_logger: Any = None) -> None:
        super().__init__(opt, start_iter, tb_logger)
        self.max_iters = int(opt['train']['total_iter']) + 1
        # It shows five letters of the name, and writes nothing for TensorBoard if 'debug' is in them.
        self.exp_name = opt['name'][:5] if is_debug(opt['name']) else opt['name'][:5].replace('debug', 'debu')
