"""Forward and backward as CUDA graphs: one launch instead of thousands, for networks of many small kernels."""
import torch

from mipkd_arch.base.errors import UserError, reason_of

MAX_GRAPHS = 64  # each keeps gradients of its own
WARM_UP = 3  # passes before a capture: they load kernels and choose among them, which a capture cannot


class CudaCapture:
    """Captures what functions do on the GPU; their graphs share one pool of memory, for they never run at once."""

    def __init__(self):
        self.pool = torch.cuda.graph_pool_handle()

    def warm_up(self, function):
        """Run a function beside PyTorch's own stream, as captures do."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function()
        torch.cuda.current_stream().wait_stream(stream)

    def __call__(self, function, generator):
        """Capture a function.

        Args:
            function (callable): without arguments; returns tensors.
            generator (torch.Generator): that it draws from, beside PyTorch's own; a replay goes on from its state.

        Returns:
            tuple: what the function returned, and a function that does the same again, into the same tensors.
        """
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        # By default a capture also fails for what other threads do, and the loader's copies to pinned memory are such.
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode='thread_local'):
            returned = function()
        return returned, graph.replay


class GraphedGradients:
    """``Gradients`` that are replayed: one graph for each route that the block prior may take, and for each set of
    losses that take part.

    Shapes are those of the first batch. Masks are drawn anew in each replay.

    Args:
        gradients (Gradients): what is captured; of one process, in one part.
        capture (CudaCapture): how.
    """

    def __init__(self, gradients, capture):
        self.gradients, self.capture = gradients, capture
        self.weights = [p for p in gradients.distiller.parameters() if p.requires_grad]
        self.generator = torch.Generator(gradients.device)
        self.batch, self.routes, self.graphs = None, {}, {}

    def __call__(self, lq, gt, iteration):
        """As ``Gradients``, but gradients of before are replaced.

        Raises:
            UserError: the step cannot be captured.
        """
        rng = self.gradients.rng(iteration, generator=self.generator)
        self.gradients.distiller.set_iteration(iteration)
        if self.batch is None:
            self.batch = lq.clone(), gt.clone()
        for held, given in zip(self.batch, (lq, gt), strict=True):
            if held.shape != given.shape:
                raise UserError(f'train.cuda_graphs: a batch of {tuple(given.shape)} after one of '
                                f'{tuple(held.shape)}; all must have one shape, or set cuda_graphs: false')
            held.copy_(given)
        active = tuple(self.gradients.distiller.active)
        if active not in self.routes:
            self.routes[active] = self._routes_of(rng)
        taken = active, *(tuple(rng.route(*route)) for route in self.routes[active])
        if taken not in self.graphs:
            self.graphs[taken] = self._captured(rng)
        (names, losses, gradients), replay = self.graphs[taken]
        self.generator.manual_seed(rng.mask_seed)
        replay()
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient  # None for those that this route does not reach
        return dict(zip(names, torch.stack(losses), strict=True))

    def _pass(self, rng):
        """Names and values of the losses, and the gradients of all weights."""
        for weight in self.weights:
            weight.grad = None
        losses = self.gradients.of_part(*self.batch, rng)
        return list(losses), list(losses.values()), [weight.grad for weight in self.weights]

    def _routes_of(self, rng):
        """Find out what a step of the losses that take part decides on the host, where a graph cannot look."""
        self.generator.manual_seed(rng.mask_seed)
        with torch.random.fork_rng(devices=self._devices):
            self._pass(rng)
        if rng.purposes:
            raise UserError(f'train.cuda_graphs: the loss that draws numbers for {rng.purposes[0]!r} does something '
                            'else in each step, which a graph cannot; set cuda_graphs: false')
        routes = list(rng.routes)
        ways = 2**sum(length for length, *_ in routes)
        if ways > MAX_GRAPHS:
            raise UserError(f'train.cuda_graphs: {ways} routes are a graph each, and {MAX_GRAPHS} are allowed; cut '
                            'into fewer stages by train.cuts_g and cuts_t, or set cuda_graphs: false')
        return routes

    def _captured(self, rng):
        with torch.random.fork_rng(devices=self._devices):  # for drop paths: only replays count
            self.capture.warm_up(lambda: self._pass(rng))
        self.generator.manual_seed(rng.mask_seed)
        try:
            return self.capture(lambda: self._pass(rng), self.generator)
        except RuntimeError as error:  # anything that a capture forbids, such as waiting for the GPU
            raise UserError(f'train.cuda_graphs: this step cannot be captured ({reason_of(error)}); set cuda_graphs: '
                            'false') from error

    @property
    def _devices(self):
        return [self.gradients.device] if self.gradients.device.type == 'cuda' else []
