"""MiPKDModel: distillation, and plain training, in BasicSR's standard loop."""
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grads_with_norm_
from torch.utils.data import DataLoader

from mipkd_arch.base.errors import UserError
from mipkd_arch.base.failures import on_no_memory
from mipkd_arch.prior_mixer import TEACHER

from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY

from .base.randomness import seed_generators
from .distributed.all_reduce import broadcast_parameters
from .evaluation.provenance import write_run
from .evaluation.teacher_score import measure_teacher
from .evaluation.validation import Validator
from .networks.build import make_student, make_teacher
from .run.saver import Saver
from .run.states import newest_before
from .training.allocator import keep_freed_memory
from .training.build import build_distiller, make_losses, needs_teacher, read_train_options
from .training.ema import update_ema, warm_decay
from .training.gradient_log import loss_gradients, write_gradients
from .training.identity import identity
from .training.nonfinite import NonFiniteGuard
from .training.optimizer import make_optimizer, parameter_groups
from .training.precision import autocast, float32_products
from .training.step import TrainingStep


@MODEL_REGISTRY.register()
class MiPKDModel(BaseModel):
    """Trains ``network_g``, with ``network_t`` as its teacher where a loss asks for one.

    The losses of the option file (``train.*_opt``) decide which method it is: ``pixel_opt`` alone is training from
    scratch, with ``kd_opt`` it is logits-KD, with ``feature_prior_opt`` and ``block_prior_opt`` MiPKD.

    ``net_g`` is the bare student, saved as a plain BasicSR checkpoint, ``net_g_ema`` its moving average (None without
    one); ``distiller`` is what is trained. BasicSR's loop calls, in each iteration, ``update_learning_rate``,
    ``feed_data`` and ``optimize_parameters``, then ``get_current_log``, ``save`` and ``validation`` where they are due.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        if opt['num_gpu'] > 1 and not opt['dist']:
            raise UserError(f'num_gpu: {opt["num_gpu"]} in one process is not supported; start one process for each '
                            'GPU with torchrun and --launcher pytorch, or set num_gpu: 1')
        network, report = make_student(opt)
        self.net_g = network.to(self.device)
        if self.is_train and opt['path'].get('resume_state'):
            report = f'weights of {opt["path"]["resume_state"]}'
        log_network('network_g', self.net_g, report)
        if self.is_train:
            self.init_training_settings()
        else:
            self.validator = Validator(opt, self.net_g, self.device)

    def init_training_settings(self) -> None:
        opt, train = self.opt, self.opt['train']
        run_identity = identity(opt)  # first, for BasicSR takes option blocks apart when it uses them
        self.options = read_train_options(opt, self.device)
        if self.device.type == 'cpu':
            keep_freed_memory()
        losses = make_losses(train)
        self.net_t, teacher_scores = None, {}
        if needs_teacher(opt, losses):
            teacher, report = make_teacher(opt)
            self.net_t = teacher.to(self.device)
            log_network('network_t', self.net_t, report)
            teacher_scores = measure_teacher(opt, self.net_t, self.device)
        self.net_g.train()
        # Not wrapped for DDP: the step itself reduces gradients over all processes, see distributed.all_reduce.
        self.distiller = build_distiller(opt, self.net_g, self.net_t, losses, self.options, self.device)
        if opt['dist']:
            broadcast_parameters(self.distiller)
        self.net_g_ema = None
        if train.get('ema_decay', 0) > 0:
            self.net_g_ema = deepcopy(self.net_g).eval().requires_grad_(False)
        self.training_step = TrainingStep(self.distiller, self.options, self.device, opt['manual_seed'], opt['rank'],
                                          opt['world_size'])
        self.optimizer_g = make_optimizer(train['optim_g'], parameter_groups(self.net_g, self.distiller, train))
        self.optimizers.append(self.optimizer_g)
        self.setup_schedulers()

        states, average = opt['path'].get('training_states'), self.net_g_ema
        trained = {'net_g': self.net_g, **self.distiller.parts}
        networks = trained if average is None else {**trained, 'net_g_ema': average}
        self.guard = NonFiniteGuard(trained, networks, self.options.nonfinite == 'stop', self.device,
                                    lambda iteration: newest_before(states, iteration))
        self.validator = Validator(opt, self.net_g if average is None else average, self.device, teacher_scores,
                                   None if self.net_t is None else self.teacher_image)
        self.saver = Saver(opt, networks, self.optimizers, self.schedulers, self.guard, self.validator, run_identity)
        if not opt['path'].get('resume_state'):
            self.write_run_file()

    def teacher_image(self, lq: torch.Tensor) -> torch.Tensor:
        """The teacher's image for lq (N, 3, H, W) of any size, in the number format of a step, without gradient."""
        with torch.no_grad(), autocast(self.options.precision, self.device):
            return self.distiller.views[TEACHER](lq)

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Begin an iteration. BasicSR's loop has no other call between a validation and the next iteration."""
        self.saver.begin_iteration()
        super().update_learning_rate(current_iter, warmup_iter)

    def feed_data(self, data: dict[str, torch.Tensor]) -> None:
        """Take a batch of images (N, 3, H, W): uint8, or float in [0, 1] as BasicSR's datasets give it."""
        images = {key: data[key].to(self.device, non_blocking=True) for key in ('lq', 'gt') if key in data}
        images = {key: x.float() / 255 if x.dtype == torch.uint8 else x for key, x in images.items()}
        if self.is_train:
            images = {key: x.contiguous(memory_format=self.distiller.formats['g']) for key, x in images.items()}
        self.lq, self.gt = images['lq'], images.get('gt', torch.empty(0))

    def optimize_parameters(self, current_iter: int) -> None:
        """One step: forward and backward pass, optimizer, average."""
        seed, rank, logged = self.opt['manual_seed'], self.opt['rank'], self.opt['logger'].get('gradients')
        with on_no_memory(partial(no_memory_line, self.opt, current_iter)):
            seed_generators('step', seed, current_iter, rank)
            with float32_products(self.options.precision, self.device):
                self.optimizer_g.zero_grad()
                self.loss_dict = self.training_step(self.lq, self.gt, current_iter)
                if logged and current_iter % logged == 0:
                    gradients = loss_gradients(self.training_step, self.lq, self.gt, current_iter)
                    if rank == 0:
                        write_gradients(self.opt['path']['experiments_root'], current_iter, gradients)
            norm = self.guard.check(self.loss_dict, current_iter)
            if self.options.grad_clip is not None:
                clip_grads_with_norm_(self.distiller.parameters(), self.options.grad_clip, norm)
                self.loss_dict['grad_norm'] = norm
            skipped = self.guard.step(self.optimizer_g)
            if self.net_g_ema is not None:
                update_ema(self.net_g_ema, self.net_g, warm_decay(self.options.ema_decay, current_iter), skipped)
        self.saver.iteration = current_iter

    def get_current_log(self) -> dict[str, float]:
        """All losses by name, means over all processes; they leave the device here, in one transfer."""
        log = dict(zip(self.loss_dict, torch.stack(list(self.loss_dict.values())).tolist(), strict=True))
        skipped = self.guard.report()
        return {**log, 'skipped': skipped} if skipped else log

    def save(self, epoch: int, current_iter: int) -> None:
        """Save state and student; ``current_iter`` -1 is the end of the run."""
        self.saver.save(current_iter)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Load a training state."""
        self.saver.resume(resume_state)
        self.distiller.calibrated = True  # the standard deviations are saved with the mixers
        self.write_run_file()

    def validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any,
                   save_img: bool = False) -> None:
        """Measure the network on the loader's dataset; ``current_iter`` may be anything in a test."""
        # BasicSR's loop may count on after the last iteration.
        iteration = min(int(current_iter), int(self.opt['train']['total_iter'])) if self.is_train else None
        self.validator.validate(dataloader.dataset, iteration, tb_logger, save_img)

    def test(self) -> None:
        """Super-resolve ``lq`` in float32."""
        self.output = self.validator.restore(self.lq)

    def write_run_file(self) -> None:
        """Write ``run.json``, for the evaluations of the weights."""
        if self.opt['rank'] == 0 and 'log' in self.opt['path']:
            write_run(self.opt, self.device, self.net_t is not None, self.saver.identity, self.validator.teacher_scores)


def no_memory_line(opt: dict[str, Any], iteration: int, asked: str) -> str:
    """The options that decide about the memory of a training step, in one line."""
    data = opt['datasets']['train']
    batch, side = data['batch_size_per_gpu'], data.get('gt_size')
    return (f'iteration {iteration:,}: not enough memory for a step{asked}; raise train.accumulate: '
            f'{opt["train"].get("accumulate", 1)} and use --auto_resume, or lower datasets.train.batch_size_per_gpu: '
            f'{batch} or gt_size: {side}, or use smaller networks')


@master_only
def log_network(label: str, network: nn.Module, report: str | None) -> None:
    """Log the size of a network and where its weights come from."""
    count = sum(p.numel() for p in network.parameters())
    get_root_logger().info(f'{label}: {type(network).__name__}, {count:,d} parameters, '
                           f'{report or "random weights"}.')
