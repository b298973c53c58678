"""Trains and tests a study's runs, several at a time, so that they can be stopped at any moment and go on later."""
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue
from statistics import fmean

import yaml
from study_file import ROOT, Study
from study_options import Job, options_of, teacher_options
from study_plan import TEACHER, due, plan
from study_records import Record, Results, Run
from tqdm import tqdm

from mipkd_arch.base.errors import UserError


class Stopped(Exception):
    """A run was asked to stop; its state is saved."""


class Trainer:
    """Trains a study's runs below the folder ``out``, one on each device at a time, or ``jobs`` where none is named.

    ``keep`` is called with each record. A device is 'cpu', 'cuda:0' and so on; None is what the option files say.
    """

    def __init__(self, study: Study, out: Path, jobs: int, devices: list[str] | None, keep: Callable[[Record], None]
                 ) -> None:
        self.study, self.out, self.keep, self.count = study, out.resolve(), keep, jobs
        self.devices: SimpleQueue[str | None] = SimpleQueue()
        for number in range(jobs):
            self.devices.put(devices[number % len(devices)] if devices else None)
        self.processes: set[subprocess.Popen] = set()
        self.stopping = False
        self.lock, self.teacher_lock = threading.Lock(), threading.Lock()

    def train(self, results: Results, hours: float | None = None) -> None:
        """Train what is due until the plan is done.

        Raises:
            UserError: a run failed, or the hours are over; runs that were stopped go on when they are called again.
        """
        end = None if hours is None else time.monotonic() + 3600 * hours
        running: dict[Future, Run] = {}
        def interrupt(*_: object) -> None:  # not by SIGINT, which shells ignore in what they start in the background
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGTERM, interrupt)
        planned = plan(self.study, results.runs)
        done = sum(one.run in results.runs for one in planned)
        with ThreadPoolExecutor(self.count) as pool, tqdm(total=len(planned), initial=done, desc='study', unit='run'
                                                          ) as bar:
            try:
                while True:
                    for run in due(self.study, results.runs):
                        if run not in running.values() and len(running) < self.count:
                            running[pool.submit(self.run, run)] = run
                    if not running:
                        break
                    finished, _ = wait(running, end and max(0, end - time.monotonic()), FIRST_COMPLETED)
                    if not finished:
                        left = sum(one.run not in results.runs for one in plan(self.study, results.runs))
                        raise UserError(f'--hours: {hours:g} are over, and {left} runs are not done; the same command '
                                        'goes on with them')
                    for future in finished:
                        running.pop(future)
                        results.add(record := future.result())
                        self.keep(record)
                        bar.update()
            finally:
                self.stop()
                signal.signal(signal.SIGTERM, before)

    def stop(self) -> None:
        """Ask all that runs to save its state and stop."""
        with self.lock:
            self.stopping = True
            for process in self.processes:
                process.send_signal(signal.SIGTERM)

    def run(self, run: Run) -> Record:
        """Train and test one run, from where it was stopped, and return its record."""
        job, device = Job.of(self.study, run, self.out), self.devices.get()
        try:
            if not (job.files / 'record.json').exists():
                job.write(*options_of(self.study, run, job))
                self._command(['train', '-opt', 'train.yml', '--auto_resume'], job, run, device)
                self._test(run, job, device)
            return {'kind': run.kind, **json.loads((job.files / 'record.json').read_text())}
        finally:
            self.devices.put(device)

    def test_again(self, run: Run) -> Record | None:
        """Test a kept student once more, such as on other sets; returns its record, None where it was not kept."""
        job = Job.of(self.study, run, self.out)
        if not job.weights.exists():
            return None
        device = self.devices.get()
        try:
            job.write(*options_of(self.study, run, job))
            return self._test(run, job, device)
        finally:
            self.devices.put(device)

    def _test(self, run: Run, job: Job, device: str | None) -> Record:
        """Test a trained student, write its record and remove what it no longer needs."""
        self._command(['test', '-opt', 'test.yml'], job, run, device)
        teacher = None if self.study.is_generated else self._teacher(run, device)
        agreement = psnr_between(job, teacher) if teacher else {}
        if not self.study.is_generated:
            shutil.rmtree(job.folder / f'results/{job.test_name}/visualization', ignore_errors=True)
        watched: dict[str, dict[str, float]] = {}
        for file in (job.folder / f'experiments/{job.name}/records').glob('*.json'):
            name, _, iteration = file.stem.rpartition('_')
            watched.setdefault(name, {})[iteration] = json.loads(file.read_text())['mean']['psnr']
        record = {**run._asdict(), 'test': test_means(job), 'psnr_teacher': agreement,
                  'watched': {name: dict(sorted(found.items(), key=lambda item: int(item[0])))
                              for name, found in sorted(watched.items())}}
        (job.files / 'record.json').write_text(json.dumps(record))
        for state in (job.folder / f'experiments/{job.name}/training_states').glob('*.state'):
            state.unlink()
        return record

    def _teacher(self, run: Run, device: str | None) -> Job | None:
        """The test of a run's teacher, whose images are kept; made where it is not there, or not of these sets.

        None of an option file without a teacher.
        """
        method = self.study.method_of(run.kind, run.variant)
        own = '' if method.option_file is None else f'_of_{run.variant}'
        job = Job.of(self.study, Run(run.kind, TEACHER + own, 0, 0), self.out)
        with self.teacher_lock:
            options, file = teacher_options(self.study, run.kind, method), job.files / 'test.yml'
            if options is None:
                return None
            marker = job.files / 'record.json'
            if not marker.exists() or yaml.safe_load(file.read_text()) != options:
                job.write({}, options)
                self._command(['test', '-opt', 'test.yml'], job, run, device)
                record = {'kind': run.kind, 'variant': TEACHER + own, 'seed': 0, 'iters': 0, 'test': test_means(job),
                          'watched': {}}
                marker.write_text(json.dumps(record))
            self.keep(json.loads(marker.read_text()))
        return job

    def _command(self, words: list[str], job: Job, run: Run, device: str | None) -> None:
        words = [str(job.files / word) if word.endswith('.yml') else word for word in words]
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])  # this very checkout
        environment = {'OMP_WAIT_POLICY': 'PASSIVE',
                       'OMP_NUM_THREADS': str(max(1, (os.cpu_count() or 1) // self.count)),
                       **os.environ, 'PYTHONPATH': path}  # what is set there is what its user wants
        if device is not None:
            environment['CUDA_VISIBLE_DEVICES'] = device.removeprefix('cuda:') if device != 'cpu' else ''
        output = job.files / 'output.log'
        with output.open('a') as log:
            with self.lock:
                if self.stopping:
                    raise Stopped
                # A session of its own: Ctrl-C comes to the study alone, which tells all to stop.
                process = subprocess.Popen([sys.executable, '-m', 'mipkd_model.cli', *words], cwd=job.folder,
                                           env=environment, stdout=log, stderr=subprocess.STDOUT,
                                           start_new_session=True)
                self.processes.add(process)
            status = process.wait()
            with self.lock:
                self.processes.remove(process)
        if self.stopping:
            raise Stopped
        if status:
            last = output.read_text().strip().splitlines()[-1:] or ['']
            raise UserError(f'{run}: {last[0].removeprefix("error: ")} ({output})')


def records_of(job: Job) -> dict[str, Path]:
    """The records of a test by set, in the order of its option file."""
    sets = yaml.safe_load((job.files / 'test.yml').read_text())['datasets'].values()
    return {block['name']: job.folder / f'results/{job.test_name}/records/{block["name"]}.json' for block in sets}


def test_means(job: Job) -> dict[str, dict[str, float]]:
    """The means of the metrics by set, as the records of a test have them."""
    return {name: json.loads(file.read_text())['mean'] for name, file in records_of(job).items()}


def psnr_between(job: Job, teacher: Job) -> dict[str, float]:
    """By set the mean PSNR in dB between images of two tests, which have saved them, as the tests compute it."""
    from mipkd_model.data.images import read_image
    from mipkd_model.evaluation.metrics import score
    from mipkd_model.evaluation.records import read_record

    found, of_teacher = {}, records_of(teacher)
    for set_name, file in records_of(job).items():
        ours, theirs = read_record(file), read_record(of_teacher[set_name]).images
        metrics = {'psnr': ours.protocol['metrics']['psnr']}
        pairs = [(job.folder / str(image.output), teacher.folder / str(theirs[name].output))
                 for name, image in ours.images.items()]
        found[set_name] = fmean(score(read_image(student), read_image(target), metrics)['psnr']
                                for student, target in pairs)
    return found
