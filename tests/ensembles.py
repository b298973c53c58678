"""Small ensembles of teachers, and what is trained with them."""
from copy import deepcopy
from pathlib import Path

import runs
import tiny
import torch

SIZES = {'num_feat': 12, 'depths': [2], 'num_heads': 2}
"""Of a small aggregation network."""


def teacher_file(folder, family, seed=0, upscale=2):
    """Write a checkpoint of a small network of random weights. Returns the file."""
    file = Path(folder, f'{family}_x{upscale}_{seed}.pth')
    if not file.exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            torch.save({'params': tiny.NETWORKS[family](upscale).state_dict()}, file)
    return file


def teachers(folder, *families):
    """Blocks of small teachers by the names of their families; a family with a number has other weights."""
    blocks = {}
    for label in families:
        family = label.rstrip('0123456789')
        file = teacher_file(folder, family, seed=int(label[len(family):] or 0))
        blocks[label] = {**deepcopy(runs.FAMILIES[family]), 'file': str(file)}
    return blocks


def block(folder, *families, **options):
    """The option block of a small ensemble."""
    return {'type': 'TeacherEnsemble', 'upscale': 2, 'teachers': teachers(folder, *families), **SIZES, **options}


def aggregation(folder, *families, **train):
    """Options of the first stage, which trains the aggregation network."""
    opt = runs.options(folder, losses=('pixel_opt', ), **train)
    opt['network_g'] = block(folder, *families)
    del opt['network_t'], opt['path']['pretrain_network_t'], opt['path']['ignore_resume_networks']
    del opt['train']['mixer_opt']
    return opt


def distillation(folder, file, *families, losses=('pixel_opt', ), features_of=None, **train):
    """Options of the second stage, whose teacher is the ensemble with the weights of ``file``."""
    opt = runs.options(folder, losses=losses, mtkd_opt={'type': 'WaveletLoss'}, **train)
    opt['network_t'] = block(folder, *families, features_of=features_of)
    opt['path']['pretrain_network_t'] = str(file)
    return opt
