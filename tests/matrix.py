"""The command that writes option files, and the networks that they name."""
import argparse
from functools import cache

import torch
import yaml

from mipkd_model.commands import options
from mipkd_model.experiments.option_files import text_of_training
from mipkd_model.experiments.runs import Run, parse_pair
from mipkd_model.networks.build import make_network


def command(*arguments):
    """Run ``mipkd options``."""
    parser = argparse.ArgumentParser()
    options.add(parser.add_subparsers())
    args = parser.parse_args(['options', *map(str, arguments)])
    args.run(args)


def opt_of(pair, method):
    """The parsed option file of a pair and a method."""
    return yaml.safe_load(text_of_training(Run(parse_pair(pair), method), 'options/x.yml'))


@cache
def network_of(block):
    """The network of a block, given as YAML text, without trained weights."""
    block = yaml.safe_load(block)
    # Nothing is allocated on the meta device; SwinIR cannot be built there.
    with torch.device('cpu' if block['type'].startswith('SwinIR') else 'meta'):
        return make_network({'network_g': block, 'path': {}}, 'g')[0]


def networks_of(opt):
    """Student and teacher of an option file, without trained weights."""
    return [network_of(yaml.safe_dump(opt[f'network_{label}'])) for label in 'gt']
