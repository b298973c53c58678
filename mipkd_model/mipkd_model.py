"""MiPKDModel: distillation, and plain training, in BasicSR's standard loop."""
from collections import OrderedDict
from contextlib import contextmanager
from copy import deepcopy

import torch

from mipkd_arch.base.errors import UserError
from mipkd_arch.staged_view import size_multiple

from basicsr.models.base_model import BaseModel
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY

from .base.seeding import seed_generators
from .distributed.all_reduce import same_everywhere
from .evaluation.validation import Validator
from .networks.build import check_image, make_network, make_teacher
from .run.memory import memory_of_steps
from .run.pace import Pace
from .run.saver import SavedTraining
from .training.allocator import keep_freed_memory
from .training.build import make_losses, make_schedules, make_views, needs_teacher
from .training.compiling import compile_blocks, eagerly
from .training.cuda_graphs import CudaCapture, GraphedGradients
from .training.distiller import Distiller
from .training.ema import update_ema, warm_decay
from .training.float32_ends import keep_ends_in_float32
from .training.frozen import forget_inputs, store_as_cast
from .training.gradient_log import write_gradients
from .training.gradients import Gradients
from .training.identity import identity
from .training.loss_gradients import loss_gradients
from .training.nonfinite import Health
from .training.optimizer import make_optimizer
from .training.options import StepOptions
from .training.precision import autocast, float32_products, uses_bf16


@MODEL_REGISTRY.register()
class MiPKDModel(SavedTraining, SRModel):
    """Trains ``network_g``, with ``network_t`` as its teacher where a loss asks for one.

    Which method it is, is decided by the losses of the option file (``train.*_opt``): ``pixel_opt`` alone is training
    from scratch, with ``kd_opt`` it is logits-KD, with ``feature_prior_opt`` and ``block_prior_opt`` MiPKD.

    ``net_g`` is the bare student, saved as a plain BasicSR checkpoint; ``distiller`` is what is trained.
    """

    def __init__(self, opt):
        # Not SRModel's: it would wrap the student alone, but student and mixers must be wrapped together.
        BaseModel.__init__(self, opt)
        if opt['num_gpu'] > 1 and not opt['dist']:
            raise UserError(f'num_gpu: {opt["num_gpu"]} in one process is not supported; start one process for each '
                            'GPU with torchrun and --launcher pytorch, or set num_gpu: 1')
        network, report = make_network(opt, 'g')
        self.net_g = network.to(self.device)
        self._log('network_g', self.net_g, report)
        self.validator = Validator(opt, size_multiple(self.net_g), self.device)
        if self.is_train:
            self.init_training_settings()

    # ---------------------------------------------------------------- set-up

    @master_only
    def _log(self, label, network, report):
        count = sum(p.numel() for p in network.parameters())
        if label == 'network_g' and self.is_train and self.opt['path'].get('resume_state'):
            report = f'weights of {self.opt["path"]["resume_state"]}'
        get_root_logger().info(f'{label}: {type(network).__name__}, {count:,d} parameters, '
                               f'{report or "weights at random"}.')

    def init_training_settings(self):
        """Build losses, teacher, mixers, EMA, optimizer and schedule."""
        train_opt = self.opt['train']
        self.identity = identity(self.opt)  # now: BasicSR takes blocks apart when it uses them
        self.step_options = StepOptions.of(self.opt, self.device)
        if self.device.type == 'cpu':
            keep_freed_memory()
        losses = make_losses(train_opt)
        self.net_t = None
        if needs_teacher(self.opt, losses):
            teacher, report = make_teacher(self.opt)
            self.net_t = teacher.to(self.device)  # never wrapped, never part of the distiller
            self._log('network_t', self.net_t, report)
            self.validator.measure_teacher(self.net_t)
        self.net_g.train()
        views = make_views(self.opt, self.net_g, self.net_t, losses)
        with float32_products('fp32', self.device):
            for label, network, view in zip('gt', (self.net_g, self.net_t), views, strict=True):
                if network is not None:
                    check_image(self.opt, label, network, view)
        distiller = Distiller(*views, losses, train_opt.get('mixer_opt'),
                              make_schedules(train_opt, losses)).to(self.device)

        channels_last = self.step_options.channels_last
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        for module in filter(None, (distiller, self.net_t)):
            module.to(memory_format=self.memory_format)
        bf16 = uses_bf16(self.step_options.precision, self.device)
        if bf16:
            keep_ends_in_float32(self.net_g)
        if self.net_t is not None:
            if bf16:
                keep_ends_in_float32(self.net_t)
                store_as_cast(self.net_t)
            forget_inputs(self.net_t)
        if self.step_options.compile:
            for view in distiller.views.values():
                compile_blocks(view)
        self.distiller = self.model_to_device(distiller)
        self.calibrated = False
        self.gradients = Gradients(self.distiller, self.step_options, self.device, self.opt['manual_seed'],
                                   self.opt['rank'], self.opt['world_size'])
        if self.step_options.cuda_graphs:
            self.gradients = GraphedGradients(self.gradients, CudaCapture())

        self.ema_decay = train_opt.get('ema_decay', 0)
        if self.ema_decay > 0:
            self.net_g_ema = deepcopy(self.net_g).eval().requires_grad_(False)

        self.pace = Pace(self.device)
        self.health = Health(distiller, getattr(self, 'net_g_ema', None), self.step_options, self.device,
                             self.opt['path'].get('training_states'))
        self.setup_optimizers()
        self.setup_schedulers()
        if not self.opt['path'].get('resume_state'):
            self.describe_run()

    def model_to_device(self, net):
        """BasicSR's wraps it for several processes; here they exchange gradients after the backward, unwrapped."""
        net = net.to(self.device)
        if self.opt['dist']:
            same_everywhere(net)
        return net

    def setup_optimizers(self):
        """One optimizer; the student and everything else trainable (``Distiller.parts``) are its parameter groups."""
        optim_opt = self.opt['train']['optim_g']
        student = list(self.net_g.parameters())
        own = set(map(id, student))
        others = [p for p in self.distiller.parameters() if id(p) not in own and p.requires_grad]
        groups = [{'params': student}]
        if others:
            groups.append({'params': others, 'lr': self.opt['train'].get('mixer_lr', optim_opt['lr'])})
        self.optimizer_g = make_optimizer(optim_opt, groups)
        self.optimizers.append(self.optimizer_g)

    # ---------------------------------------------------------------- step

    def feed_data(self, data):
        """Take a batch: uint8, or float in [0, 1] as BasicSR's datasets give it."""
        self.lq = self._to_image(data['lq'])
        if 'gt' in data:
            self.gt = self._to_image(data['gt'])

    def _to_image(self, x):
        x = x.to(self.device, non_blocking=True)
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        return x.contiguous(memory_format=self.memory_format) if self.is_train else x

    def optimize_parameters(self, current_iter):
        """One step: losses, backward, optimizer, EMA."""
        with memory_of_steps(self.opt, current_iter), self.pace:
            self._step(current_iter)
        self.iteration = current_iter

    def _step(self, current_iter):
        seed_generators('step', self.opt['manual_seed'], current_iter, self.opt['rank'])
        with float32_products(self.step_options.precision, self.device):
            if not self.calibrated:
                self._calibrate()
            self.optimizer_g.zero_grad()
            self.loss_dict = self.gradients(self.lq, self.gt, current_iter)
            self._log_gradients(current_iter)
        norm = self.health.look(self.loss_dict, current_iter)
        if self.step_options.grad_clip is not None:
            self.health.clip(self.step_options.grad_clip)
            self.loss_dict['grad_norm'] = norm
        skipped = self.health.step(self.optimizer_g)
        if self.ema_decay > 0:
            update_ema(self.net_g_ema, self.net_g, warm_decay(self.ema_decay, current_iter), skipped)

    def _log_gradients(self, current_iter):
        every = self.opt['logger'].get('gradients')
        if every and current_iter % every == 0:
            gradients = getattr(self.gradients, 'gradients', self.gradients)  # those that CUDA graphs replay
            found = loss_gradients(gradients, self.lq, self.gt, current_iter)
            if self.opt['rank'] == 0:
                write_gradients(self.opt['path']['experiments_root'], current_iter, found)

    def _calibrate(self):
        bare = self.get_bare_model(self.distiller)
        if bare.mixers:
            # In a context of its own: weights that autocast casts and keeps under no_grad are not the step's.
            with autocast(self.step_options.precision, self.device):
                bare.calibrate(self.lq)
        self.calibrated = True

    def get_current_log(self):
        """All losses by name. They are fetched from the device here, when printed, not in every step."""
        self.log_dict = self.reduce_loss_dict(self.loss_dict)
        if skipped := self.health.report():
            self.log_dict['skipped'] = skipped
        return self.log_dict

    # ---------------------------------------------------------------- validation

    @property
    def evaluated(self):
        """The network that is measured: the EMA of the student where there is one."""
        return getattr(self, 'net_g_ema', self.net_g)

    @contextmanager
    def _eval_mode(self):
        training = self.evaluated.training
        try:
            with eagerly():
                yield self.evaluated.eval()
        finally:
            self.evaluated.train(training)

    def test(self):
        """Super-resolve ``lq`` in float32."""
        with self._eval_mode() as network, torch.no_grad():
            self.output = self.validator.restorer(network)(self.lq)

    def validation(self, dataloader, current_iter, tb_logger, save_img=False):
        """Measure the network on the loader's ``dataset``; write the record and log the means.

        Args:
            dataloader (DataLoader): only its ``dataset`` is used.
            current_iter (int | str): iteration of the training; anything in a test.
            tb_logger: TensorBoard's writer, or None.
            save_img (bool): save the outputs.
        """
        # BasicSR's loop may count on after the last iteration.
        iteration = min(current_iter, int(self.opt['train']['total_iter'])) if self.is_train else None
        with self._eval_mode() as network:
            record = self.validator.validate(network, dataloader.dataset, iteration, save_img)
        if record is None:
            return
        name = record.dataset['name']
        if self.is_train:
            self.metric_results = record.mean
            self._initialize_best_metric_results(name)
            for metric, value in record.mean.items():
                self._update_best_metric_result(name, metric, value, iteration)
        self.validator.log(record, getattr(self, 'best_metric_results', {}).get(name), tb_logger)

    # ---------------------------------------------------------------- log

    def reduce_loss_dict(self, loss_dict):
        """By name, as floats; one transfer from the device for all. They are means over all processes already."""
        return OrderedDict(zip(loss_dict, torch.stack(list(loss_dict.values())).tolist(), strict=True))
