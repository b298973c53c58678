"""The ablations of MiPKD: which variants are compared, and what is published of their order."""
from typing import NamedTuple


class Ablation(NamedTuple):
    """Variants of MiPKD that differ in one respect."""
    title: str
    variants: dict[str, str]
    """Label of each variant by its method, a name in ``METHODS`` or ``VARIANTS``; in the order of a table."""
    published: str  # the order that is stated about MiPKD (arXiv 2404.02573), in a sentence. The numbers are not known.


ABLATIONS = {
    'components': Ablation(
        'Prior mixers', {
            'Logits-KD': 'neither', 'MiPKD-feature': 'feature prior mixer', 'MiPKD-block': 'block prior mixer',
            'MiPKD': 'both'},
        'Each prior mixer helps, and both together help most.'),
    'encoders': Ablation(
        'Encoders', {
            'MiPKD': 'separate', 'MiPKD-encoder-shared': 'shared', 'MiPKD-encoder-none': 'none'},
        'Separate encoders are better than a shared one, and that is better than none.'),
    'kind': Ablation(
        'Encoders and decoders', {
            'MiPKD': 'CNN', 'MiPKD-kind-mlp': 'MLP'},
        'CNNs are better than MLPs.'),
    'auto-encoder': Ablation(
        'Auto-encoder loss', {
            'MiPKD': 'with', 'MiPKD-autoencoder-none': 'without'},
        'With the auto-encoder loss it is better than without.'),
    'mask': Ablation(
        'Mask', {
            'MiPKD': 'random 3D', 'MiPKD-mask-similarity': 'similarity-based', 'MiPKD-mask-grid': 'grid'},
        'A random 3D mask is better than a similarity-based one and better than a grid.'),
    # What is published is the best pair of weights. The others are this project's choice, a factor of ten away.
    'weights': Ablation(
        'Weights of the losses (lambda_feat / lambda_block)', {
            'MiPKD': '1 / 0.1', 'MiPKD-feat-0.1': '0.1 / 0.1', 'MiPKD-feat-10': '10 / 0.1',
            'MiPKD-block-0.01': '1 / 0.01', 'MiPKD-block-1': '1 / 1'},
        'lambda_feat 1 and lambda_block 0.1 are best.'),
}
"""By name."""
