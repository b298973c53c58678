"""Two measures of how alike features of two networks are, summed over batches: linear CKA and explained variance."""
from __future__ import annotations

from collections.abc import Sequence

import torch


def _centered_grams(features: Sequence[torch.Tensor]) -> torch.Tensor:
    """Gram matrices (G, P, P) of G features (P, C_i), with 0 on the diagonal, in float64."""
    grams = torch.stack([x @ x.T for x in (feature.double() for feature in features)])
    grams.diagonal(dim1=-2, dim2=-1).zero_()
    return grams


def _hsic(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Unbiased HSIC (G_a, G_b) of all pairs of Gram matrices (G_a, P, P) and (G_b, P, P) without diagonal.

    Song et al., Feature selection via dependence maximization, JMLR 2012, eq. 5.
    """
    count = a.shape[-1]
    rows_a, rows_b = a.sum(-1), b.sum(-1)
    trace = a.flatten(1) @ b.flatten(1).T
    sums = torch.outer(rows_a.sum(-1), rows_b.sum(-1)) / ((count - 1) * (count - 2))
    return (trace + sums - 2 / (count - 2) * (rows_a @ rows_b.T)) / (count * (count - 3))


class LinearCKA:
    """Linear CKA of all pairs of features of two networks, from minibatches.

    Nguyen, Raghu and Kornblith, Do wide and deep networks learn the same things?, ICLR 2021: the mean of an unbiased
    HSIC over batches, so the result does not depend on how large they are. An example is a pixel.
    """

    def __init__(self) -> None:
        self._ab: torch.Tensor | float = 0.
        self._aa: torch.Tensor | float = 0.
        self._bb: torch.Tensor | float = 0.

    def update(self, a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> None:
        """Add the features of a batch, (P, C_i) and (P, D_j), row by row of the same P pixels; P is at least 4."""
        grams_a, grams_b = _centered_grams(a), _centered_grams(b)
        self._ab = self._ab + _hsic(grams_a, grams_b)
        self._aa = self._aa + torch.stack([_hsic(gram[None], gram[None]).squeeze() for gram in grams_a])
        self._bb = self._bb + torch.stack([_hsic(gram[None], gram[None]).squeeze() for gram in grams_b])

    def result(self) -> torch.Tensor:
        """CKA (len(a), len(b)): 1 for features that are equal up to rotation and scale, around 0 for unrelated ones."""
        norm = torch.outer(torch.as_tensor(self._aa), torch.as_tensor(self._bb)).clamp(min=1e-30).sqrt()
        return torch.as_tensor(self._ab) / norm


class ExplainedVariance:
    """Fraction of the variance of features b that the best 1x1 convolution of features a explains (least squares)."""

    def __init__(self) -> None:
        self._count = 0
        self._sums: list[list[torch.Tensor]] = []

    def update(self, a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> None:
        """Add the features of a batch, (P, C_i) and (P, D_j), row by row of the same P pixels."""
        a = [torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], 1) for x in a]  # a 1 for the bias
        b = [y.double() for y in b]
        new = [[x.T @ x for x in a], [x.T @ y for x in a for y in b], [y.sum(0) for y in b],
               [y.square().sum(0) for y in b]]
        self._sums = [[old + value for old, value in zip(*pair, strict=True)]
                      for pair in zip(self._sums, new, strict=True)] if self._sums else new
        self._count += len(b[0])

    def result(self) -> torch.Tensor:
        """Fractions (len(a), len(b)), at most 1."""
        products, mixed, sums, squares = self._sums
        total = torch.stack([(square - linear.square() / self._count).sum()
                             for linear, square in zip(sums, squares, strict=True)])
        inverses = [torch.linalg.pinv(product, hermitian=True) for product in products]
        rest = torch.stack([squares[i % len(sums)].sum() - (xy * (inverses[i // len(sums)] @ xy)).sum()
                            for i, xy in enumerate(mixed)]).view(len(products), len(sums))
        return 1 - rest / total.clamp(min=1e-30)
