"""The compared methods at several weights of their losses: many short trainings, differing in the method alone.

Each run trains the student of an option file from its teacher by the training command and validates it. A variant is
a method with the weight of its own loss, such as "FAKD 0.1"; all but scratch, CSD and CrossKD have the kd loss too.
Runs that are done are kept in a file, so that the study can be stopped and started again. The last line is one JSON
object: for each variant the mean PSNR, the spread over seeds, and the mean of each component of the loss.

example:
  python benchmarks/methods.py --data datasets/demo_teacher --val datasets/benchmark/Set5 --variants scratch "AT 10"
"""
import sys

from trials import study, without

MIXED = ('feature_prior', 'block_prior')
METHODS = {
    'FitNet': ('fitnet', {'type': 'FitNetLoss'}, (10, 1, 0.1, 0.01, 0.001)),
    'FitNet-mean': ('fitnet', {'type': 'FitNetLoss', 'variant': 'channel_mean'}, (10, 1, 0.1, 0.01, 0.001)),
    'AT': ('at', {'type': 'ATLoss'}, (10, 1, 0.1)),
    'RKD': ('rkd', {'type': 'RKDLoss'}, (1, 0.1, 0.01)),
    'FAKD': ('fakd', {'type': 'FAKDLoss'}, (10, 1, 0.1, 0.01)),
    'CSD': ('csd', {'type': 'CSDLoss'}, (0.784, 0.0784)),
    'CrossKD': ('crosskd', {'type': 'CrossKDLoss'}, (1, 0.1)),
    'DUKD': ('dukd', {'type': 'DUKDLoss'}, (1, )),
}


def method(name, weight):
    """Variant that trains a method of ``METHODS``, with its loss at a weight."""
    label, block, _ = METHODS[name]
    drop = without(*MIXED, *(['kd'] if name in ('CSD', 'CrossKD') else []))

    def change(train):
        drop(train)
        train[f'{label}_opt'] = {**block, 'loss_weight': weight}

    return change


VARIANTS = {
    'scratch': without('kd', *MIXED),
    'logits-KD': without(*MIXED),
    'MiPKD': without(),
    **{f'{name} {weight:g}': method(name, weight) for name, (_, _, weights) in METHODS.items() for weight in weights},
}

if __name__ == '__main__':
    sys.exit(study(__doc__, 'methods', VARIANTS))
