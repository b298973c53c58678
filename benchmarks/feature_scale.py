"""How the scale of the feature loss decides whether MiPKD helps: many short trainings, differing in one option.

Each run trains the demo's student (EDSR, 32 channels, 4 blocks) from the demo's teacher by the training command and
validates it. Runs that are done are kept in a file, so that the study can be stopped and started again. The last line
is one JSON object: for each variant the mean PSNR, the spread over seeds, and the mean of each component of the loss.

example:
  python benchmarks/feature_scale.py --data datasets/demo_teacher --val datasets/benchmark/Set5 --iters 1000 --seeds 2
"""
import sys

from trials import study, without


def feature(**changes):
    """Variant of the feature prior loss."""
    return lambda train: train['feature_prior_opt'].update(changes)


VARIANTS = {
    'scratch': without('kd', 'feature_prior', 'block_prior'),
    'logits-KD': without('feature_prior', 'block_prior'),
    'raw': feature(unit='raw', gain=1.),
    'raw / 255': feature(unit=255, gain=1.),
    'spread, gain 1': feature(gain=1.),
    'spread, gain 0.1': feature(gain=0.1),
    'spread, gain 0.03': feature(gain=0.03),
    'spread, gain 0.01': feature(gain=0.01),
    'spread, gain 0.003': feature(gain=0.003),
    'spread, gain 0.001': feature(gain=0.001),
}

if __name__ == '__main__':
    sys.exit(study(__doc__, 'feature_scale', VARIANTS))
