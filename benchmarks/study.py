"""What distillation methods, weights and schedules are worth: many trainings that differ in their losses.

A study is a YAML file. One with ``variants`` changes the ``train`` block of the option file --opt: ``base`` for all,
each variant further; null removes an option. A preset has several option files, one for each kind of compression,
methods with trials of their weights, and two lengths. What it trains next follows from what has been trained
(study_plan.py): the best trial goes on with more seeds, the best rivals for the second length. "small" is the study of
this project, "paper" the paper's nine pairs on DIV2K, "tiny" small.yml in minutes.

Runs of a seed start from the same weights and see the same samples. While it trains, a run is validated on --watch, at
its end it is tested on --test. Before anything starts, the runs and what they cost are printed. Ctrl-C, SIGTERM and
the end of --hours save the state of what is running; the same command goes on. Finished runs are kept in --out and,
where --results names one, in one file, from which alone --report, --list and --figure are made; without both they show
the runs of docs/results/study.json. The last line is one JSON object: of a preset by kind, set and method the PSNR at
the second length, and at the first below "short"; of other studies by variant and set.

examples:
  python benchmarks/study.py --preset small --report
  python benchmarks/study.py --preset small --results results/study.json --jobs 2 --hours 8
  python benchmarks/study.py --preset small --results results/study.json --report --figure study.png
  python benchmarks/study.py benchmarks/studies/prior_mixers.yml --iters 3000 --seeds 0 1 2 --data datasets/study \\
      --watch heldout=datasets/heldout --test Set5=datasets/benchmark/Set5 Set14=datasets/benchmark/Set14
"""
import argparse
import json
import sys
import threading
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from study_file import Study, read_study
from study_options import Job, without_missing
from study_plan import TEACHER, due, plan
from study_records import KEPT, Record, Results
from study_report import report, variant_table
from study_run import Trainer
from study_time import cost_table, gpu_table, measure_steps

from mipkd_arch.base.cli import exit_status
from mipkd_arch.base.errors import UserError, number_in
from mipkd_model.base.files import check_writable


def study(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    if bool(args.study) == bool(args.preset):
        raise UserError('FILE or --preset: give one of them')
    number_in('--jobs', args.jobs, 1, integer=True)
    found = read_study(args)
    out = Path(args.out or f'results/studies/{found.name}')
    shows = args.list or args.figure
    results = Results.read(args.results or (KEPT if shows and not args.out and not out.exists() else None))
    if args.results:
        check_writable(args.results, '--results')
    known = dict(results.runs), dict(results.steps)
    collect(found, results, out)
    if args.figure:
        from mipkd_model.reports.figures.style import checked_out
        checked_out(args.figure)
    if args.time:
        time_steps(found, results, args)
    elif args.test_again:
        test_again(found, results, out, args)
    elif not (args.list or args.figure):
        train(found, results, out, args)
    if args.results and (results.runs, results.steps) != known:
        results.write(args.results)
    if args.figure:
        from study_figure import draw_study
        print(draw_study(found, results, Path(args.figure)))
    text, figures = variant_table(found, results) if found.is_flat else report(found, results)
    if text:
        print(text)
    print(json.dumps(figures))


def collect(found: Study, results: Results, out: Path) -> None:
    """Add the records of the study's runs that are done in its folder, and those of its teachers."""
    for file in out.glob(f'*/{TEACHER}*/record.json'):
        results.add(json.loads(file.read_text()))
    while files := {run: file for run in due(found, results.runs)
                    if (file := Job.of(found, run, out).files / 'record.json').exists()}:
        for run, file in files.items():  # then more may be due
            results.add({**json.loads(file.read_text()), **run._asdict()})


def train(found: Study, results: Results, out: Path, args: argparse.Namespace) -> None:
    """Print what is left and what it costs, and train it."""
    whole = [planned for planned in plan(found, results.runs) if planned.run not in results.runs]
    present, left_out, faults = without_missing(found, results.runs)
    for line in [*left_out, *(faults if args.plan else [])]:
        print(line)
    if found.is_generated:
        print(gpu_table(found, whole, args.tflops), flush=True)
    else:
        left = [planned for planned in plan(present, results.runs) if planned.run not in results.runs]
        print(cost_table(left, results), flush=True)
    if args.plan:
        return
    if faults:
        raise UserError(faults[0])
    keep = Keeper(results, args.results)
    Trainer(present, out, args.jobs, args.device, keep).train(results, args.hours)


class Keeper:
    """Adds records to the results, and writes them to a file, if there is one, at once."""

    def __init__(self, results: Results, file: str | None) -> None:
        self.results, self.file, self.lock = results, file, threading.Lock()

    def __call__(self, record: Record) -> None:
        with self.lock:
            self.results.add(record)
            if self.file:
                self.results.write(self.file)


def time_steps(found: Study, results: Results, args: argparse.Namespace) -> None:
    """Measure a step of each method, and keep the times in the results."""
    if found.is_generated:
        raise UserError('--time: the cost of this study is an estimate; --plan prints it')
    found, left_out, faults = without_missing(found, {})
    for line in left_out:
        print(line)
    if faults:
        raise UserError(faults[0])
    for kind in found.kinds:
        for step in measure_steps(found, kind, args.rounds, args.jobs, args.device and args.device[0]):
            results.add(step)


def test_again(found: Study, results: Results, out: Path, args: argparse.Namespace) -> None:
    """Test the students that are kept in the folder once more."""
    keep = Keeper(results, args.results)
    trainer = Trainer(found, out, 1, args.device, keep)
    for planned in plan(found, results.runs):
        if planned.run in results.runs and (record := trainer.test_again(planned.run)):
            keep(record)


def sets(text: str) -> tuple[str, str]:
    """NAME=DIR."""
    name, equals, folder = text.partition('=')
    if not name or not equals or not folder:
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME=DIR')
    return name, folder


class AsDict(argparse.Action):
    """Keeps pairs as a dictionary."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # type: ignore[no-untyped-def]
        setattr(namespace, self.dest, dict(values))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('study', metavar='FILE', nargs='?', help='of a study')
    add('--preset', choices=('tiny', 'small', 'paper'), help='a study of several kinds, in benchmarks/studies/')
    add('--opt', default='options/demo/train_MiPKD_x4.yml', metavar='FILE',
        help='option file that a FILE changes (default: %(default)s)')
    add('--kinds', nargs='+', metavar='NAME', help='of a preset (default: all)')
    add('--variants', nargs='+', metavar='NAME', help='variants of a FILE, methods and ablations of a preset '
        '(default: all)')
    add('--data', metavar='DIR', help="packed photographs to train on (default: the file's, or datasets/demo_teacher)")
    add('--watch', nargs='*', type=sets, action=AsDict, metavar='NAME=DIR', help='validated on while training')
    add('--watch-freq', type=int, help="iterations between (default: the file's, or 500)")
    add('--test', nargs='+', type=sets, action=AsDict, metavar='NAME=DIR',
        help="tested on at the end (default: the file's, or Set5=datasets/benchmark/Set5)")
    add('--iters', dest='lengths', type=int, nargs='+', help="length of a run (default: the file's, or 3000)")
    add('--seeds', type=int, nargs='+', help="default: the file's, or 0")
    add('--jobs', type=int, default=1, help='trainings at a time (default: %(default)s)')
    add('--device', nargs='+', metavar='DEVICE', help='cpu, cuda:0, ...: the jobs take turns (default: the option '
                                                      "files')")
    add('--hours', type=float, help='stop after that time; the same command goes on')
    add('--out', metavar='DIR', help='default: results/studies/ and the name of the study')
    add('--results', metavar='FILE', help='JSON that finished runs are read from and added to')
    add('--tflops', type=float, default=100, help='sustained 10^12 operations a second of a GPU, for the estimate of '
                                                  'the cost of "paper" (default: %(default)s)')
    add('--rounds', type=int, default=5, help='of --time (default: %(default)s)')
    does = parser.add_mutually_exclusive_group()
    does.add_argument('--plan', action='store_true', help='print what is left and its cost, and train nothing')
    does.add_argument('--list', '--report', dest='list', action='store_true',
                      help='print the tables of what is done, and train nothing')
    does.add_argument('--time', action='store_true', help='measure a step of each method; the machine has to be idle')
    does.add_argument('--test-again', action='store_true', help='test the students that are kept in --out again, such '
                                                                'as on other sets')
    add('--figure', metavar='FILE', help='draw PSNR against the time of training, and train nothing')
    return exit_status(study, parser.parse_args())


if __name__ == '__main__':
    sys.exit(main())
