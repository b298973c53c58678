"""Do the fast settings cost quality? Many short trainings, differing in how steps are computed, not in what.

Each run trains the student of an option file from its teacher by the training command and validates it. "fast" is as
option files are: bfloat16 where the hardware has it, channels_last, a fused optimizer. "reference" has all of that off:
eager float32. Runs of one seed start from the same weights and see the same samples. Runs that are done are kept in a
file, so that the study can be stopped and started again. The last line is one JSON object: for each variant the mean
PSNR, the spread over seeds, and the mean of each component of the loss.

example:
  python benchmarks/quality.py --data datasets/demo_teacher --val datasets/benchmark/Set5 --seeds 3
"""
import sys

from trials import study, without


def fast(train):
    """As option files are."""


def reference(train):
    """Eager float32 in PyTorch's own memory format, and an optimizer that takes one weight after the other."""
    train.update(precision='fp32', channels_last=False)
    train['optim_g'].update(fused=False, foreach=False)


def compiled(train):
    """With compiled blocks."""
    train['compile'] = True


def graphed(train):
    """As CUDA graphs; on a GPU only."""
    train['cuda_graphs'] = True


SETTINGS = {'fast': fast, 'reference': reference, 'compile': compiled, 'cuda graphs': graphed}
METHODS = {'logits-KD': without('feature_prior', 'block_prior'), 'MiPKD': without()}


def variant(method, setting):
    """Variant that trains by a method of ``METHODS``, computed by a setting of ``SETTINGS``."""
    def change(train):
        METHODS[method](train)
        SETTINGS[setting](train)

    return change


VARIANTS = {f'{method} {setting}': variant(method, setting) for method in METHODS for setting in SETTINGS}

DEFAULT = [name for name in VARIANTS if name.endswith(('fast', 'reference'))]

if __name__ == '__main__':
    sys.exit(study(__doc__, 'quality', VARIANTS, DEFAULT))
