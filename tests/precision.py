"""Whether a computation is right to the precision of its number format, whatever kernels a machine has for it."""
import torch

FORMATS = {'fp32': torch.float32, 'bf16': torch.bfloat16}
"""By the values of ``train.precision``."""


def error(found, exact):
    """Distance from the exact result (float64), as a share of that result's norm."""
    assert exact.dtype == torch.float64 and exact.norm() > 0
    return ((found.double() - exact).norm() / exact.norm()).item()


def no_worse(found, other, exact, unit):
    """Assert that a result is about as near to the exact one as another right result in the same number format.

    Kernels that are right round in different places, so that no two of them agree to the last bit on all machines. A
    sum over the nine taps of a convolution is rounded once, or after each tap, which is sqrt(9) = 3 times the error of
    one rounding; a sum of a hundred products in float32 runs through 7 additions in lanes of 16, or through all of
    them, which is sqrt(100 / 7) = 4 times. A fault in what is computed is much further off than roundings.

    Args:
        found (Tensor): by the code under test.
        other (Tensor): by code that is known to be right.
        exact (Tensor): in float64.
        unit (torch.dtype): the number format; the other result may be exact by chance, none need be nearer than half
            a unit in the last place.
    """
    allowed = 4 * max(error(other, exact), torch.finfo(unit).eps / 2)
    off = error(found, exact)
    assert off <= allowed, f'{off:.2g} from the exact result, where {allowed:.2g} may be'


FEW_ROUNDINGS = {name: 4 * torch.finfo(unit).eps / 2 for name, unit in FORMATS.items()}
"""By precision, what a loss may be off as a share of itself, whatever kernels made it: it is the mean of thousands of
distances, over which the roundings of a pass average out, so that it is off by less than single entries are."""


def saved_bytes(function):
    """Bytes of the tensors that a forward keeps for its way back, parameters left out, and no tensor twice.

    What a kernel takes for itself meanwhile, which differs between machines, is not among them.
    """
    kept = {}

    def keep(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no address is given twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
