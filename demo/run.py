"""Distils a small network on real photographs and shows the result: ``make demo``.

Packs photographs into LMDBs, trains a student by ``options/demo/train_MiPKD_x4.yml``, and the same student without a
teacher by ``options/demo/train_Scratch_x4.yml``, by the same command as any other training, validates bicubic, both
students and the teacher on photographs that were not trained on, and writes results/demo/summary.json and
results/demo/comparison.png. Both students start from the same weights and see the same samples in as many steps.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / 'demo')]
sys.path.append(str(ROOT))

import mipkd_model  # noqa: E402, F401  (first: it sets how torch's threads wait, and makes BasicSR importable)

# isort: split
import comparison  # noqa: E402
import photographs  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from tqdm import tqdm  # noqa: E402

from mipkd_arch.base.cli import command_status  # noqa: E402
from mipkd_arch.base.errors import UserError  # noqa: E402
from mipkd_arch.base.weights import load_weights  # noqa: E402
from mipkd_model.base.weights import save_checkpoint  # noqa: E402
from mipkd_model.config.checks import read_options  # noqa: E402

from basicsr.archs import build_network  # noqa: E402

OPTIONS = 'options/demo/train_MiPKD_x4.yml'
SCRATCH = 'options/demo/train_Scratch_x4.yml'
RESULTS = Path('results/demo')


def network(block: dict[str, Any], weights: str, param_key: str | None = None) -> nn.Module:
    """Build the network of an option block with the weights of a file, ready to validate."""
    net = build_network(block)
    load_weights(net, weights, param_key=param_key)
    return net.eval()


def train(file: str, label: str, overrides: list[str]) -> str:
    """Train, with the output in results/demo/<label>.log and a progress bar. Returns the file of the weights."""
    opt = read_options(ROOT / file)
    shutil.rmtree(f'experiments/{opt["name"]}', ignore_errors=True)  # only the demo's own, from the last time
    arguments = ['basicsr/train.py', '-opt', file, *(['--force_yml', *overrides] if overrides else [])]
    print('$ python', ' '.join(arguments))
    changed = [entry.split('=')[1] for entry in overrides if entry.startswith('train:total_iter=')]
    total = int(changed[-1]) if changed else opt['train']['total_iter']
    log = RESULTS / f'{label}.log'
    with (log.open('w') as output, tqdm(total=total, desc=label, unit='it') as bar,
          subprocess.Popen([sys.executable, *arguments], text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT) as process):
        for line in process.stdout or ():
            output.write(line)
            step = re.search(r'iter:\s*([\d,]+), lr.*?(l_pix.*)', line)
            if step:
                bar.update(int(step[1].replace(',', '')) - bar.n)
                bar.set_postfix_str(' '.join(step[2].split()))
    if process.returncode:
        last = log.read_text().strip().splitlines()[-1]
        raise UserError(f'training failed, see {log}: {last}')
    return f'experiments/{opt["name"]}/models/net_g_latest.pth'


def demo(args: argparse.Namespace) -> None:
    """The whole demo."""
    start = time.time()
    opt = read_options(ROOT / OPTIONS)
    RESULTS.mkdir(parents=True, exist_ok=True)
    photographs.pack(Path('datasets/demo'), opt['scale'])

    torch.manual_seed(opt['manual_seed'])
    before = opt['path']['pretrain_network_g']
    save_checkpoint({'params': build_network(opt['network_g']).state_dict()}, before)
    scratch = train(SCRATCH, 'scratch', args.force_yml)
    after = train(OPTIONS, 'distil', args.force_yml)
    networks = {'before': network(opt['network_g'], before),
                'scratch': network(opt['network_g'], scratch, 'params_ema'),
                'distilled': network(opt['network_g'], after, 'params_ema'),
                'teacher': network(opt['network_t'], opt['path']['pretrain_network_t'])}
    summary = comparison.compare(networks, opt['datasets']['val'], opt['scale'], RESULTS / 'comparison.png')
    (RESULTS / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    print(f'\nPhotographs that were not trained on, x{opt["scale"]}, Y channel:\n')
    print(comparison.table(summary, networks))
    print(f'\n{RESULTS}/summary.json and {RESULTS}/comparison.png are written; the student is {after}. '
          f'This took {(time.time() - start) / 60:.1f} minutes.')
    print('\nExport it, and upscale a photograph of yours:\n', *use_commands(Path(after).parents[1]), sep='\n    ')


def use_commands(run: Path) -> list[str]:
    """The commands that export and use the student of a run, by the ``mipkd`` of this environment."""
    program = Path(sys.executable).with_name('mipkd')
    program = Path('mipkd') if not program.is_file() else program
    name = program.relative_to(ROOT) if ROOT in program.parents else program
    return [f'{name} export {run}', f'{name} upscale photo.jpg --model {run} --out {RESULTS}/upscaled']


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog='example: python demo/run.py --force_yml train:total_iter=300')
    parser.add_argument('--force_yml', nargs='+', default=[], metavar='KEY=VALUE',
                        help='change options of the training, as for basicsr/train.py')
    os.chdir(ROOT)  # option files name their data from there
    return command_status(parser, run=demo)


if __name__ == '__main__':
    sys.exit(main())
