"""A teacher and a student run on the same images, their features compared at all pairs of cuts."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from mipkd_arch.base.errors import UserError
from mipkd_arch.staged_views import StagedView, StagedViewError, staged_view

from ...networks.build import make_student, make_teacher
from .similarity import ExplainedVariance, LinearCKA

HEAD = 'head'
"""Name of the position after the head."""


@dataclass(frozen=True)
class Probe:
    """How alike the features of a student and a teacher are."""
    names_g: list[str]
    """The student's positions: the head, then its blocks."""
    names_t: list[str]
    """The teacher's."""
    cka: torch.Tensor
    """Linear CKA (student's positions, teacher's positions)."""
    explained: torch.Tensor
    """Fraction of the teacher's features that a 1x1 convolution of the student's explains, of the same shape."""
    cuts_g: list[str]
    """Recommended ``train.cuts_g``."""
    cuts_t: list[str]
    """Recommended ``train.cuts_t``."""


def load_views(opt: Mapping[str, Any]) -> tuple[StagedView, StagedView, bool]:
    """Student and teacher of an option file, with a cut after each block, and whether the student has weights.

    Raises:
        UserError: a network cannot be built, or has no staged view.
    """
    if opt.get('network_t') is None:
        raise UserError('network_t: missing; name the teacher that the student is compared with')
    student, report = make_student(opt)
    teacher, _ = make_teacher(opt)
    return _view('g', student.eval()), _view('t', teacher), report is not None


def _view(label: str, network: nn.Module) -> StagedView:
    try:
        return cut_everywhere(staged_view(network))
    except StagedViewError as error:
        raise StagedViewError(f'network_{label}: {error}') from None


def cut_everywhere(view: StagedView) -> StagedView:
    """The view with one block in each stage."""
    return view.cut(list(view.blocks)[:-1])


def batches_of(dataset: Dataset, count: int, size: int) -> Iterator[torch.Tensor]:
    """Batches of lq (size, 3, H, W) in [0, 1]: the first samples of a training dataset, whose crops are of one size."""
    for start in range(0, count * size, size):
        items = [dataset[index % len(dataset)]['lq'] for index in range(start, start + size)]  # type: ignore[arg-type]
        lq = torch.stack(items)
        yield lq.float() / 255 if lq.dtype == torch.uint8 else lq


def probe(student: StagedView, teacher: StagedView, batches: Iterator[torch.Tensor], pixels: int, stages: int) -> Probe:
    """Compare features of two networks on batches of lq (N, 3, H, W).

    Args:
        student: cut everywhere, as is the teacher.
        pixels: how many are drawn of each batch.
        stages: of the recommendation.

    Raises:
        UserError: a network has too few blocks for the stages.
    """
    cka, explained = LinearCKA(), ExplainedVariance()
    generator = torch.Generator().manual_seed(0)
    for lq in batches:
        chosen = torch.randperm(len(lq) * lq.shape[-2] * lq.shape[-1], generator=generator)[:pixels]
        with torch.no_grad():
            passes = [view.forward_features(lq) for view in (student, teacher)]
        a, b = ([feature.permute(0, 2, 3, 1).flatten(0, 2)[chosen] for feature in passed.features] for passed in passes)
        cka.update(a, b)
        explained.update(a, b)
    similarity = cka.result()
    names_g, names_t = ([HEAD, *view.blocks] for view in (student, teacher))
    ends_g, ends_t = recommend(similarity, student, teacher, stages)
    return Probe(names_g, names_t, similarity, explained.result(), [names_g[i] for i in ends_g],
                 [names_t[i] for i in ends_t])


def recommend(cka: torch.Tensor, student: StagedView, teacher: StagedView, stages: int
              ) -> tuple[list[int], list[int]]:
    """Positions after which to cut student and teacher into stages.

    The network of fewer blocks is cut evenly; the other one after those blocks, in the same order, whose features are
    most like those at the even cuts: the sum of their CKA is the largest.

    Args:
        cka: (student's positions, teacher's positions).
    """
    if len(student.blocks) > len(teacher.blocks):
        ends_t, ends_g = recommend(cka.T, teacher, student, stages)
        return ends_g, ends_t
    even = [list(student.blocks).index(stage[-1]) + 1 for stage in student.cut(stages).stages[:-1]]
    teacher.cut(stages)  # raises where it has too few blocks
    return even, best_in_order(cka[even, 1:-1]) if even else []


def best_in_order(scores: torch.Tensor) -> list[int]:
    """One column for each row of scores (R, C), each right of the one before, so that their sum is the largest.

    Returns:
        The numbers of the columns, from 1.
    """
    rows, columns = scores.shape
    best = torch.full((rows, columns), -torch.inf, dtype=scores.dtype)  # of the rows so far, the last in this column
    came_from = torch.zeros(rows, columns, dtype=torch.long)
    best[0] = scores[0]
    for row in range(1, rows):
        for column in range(row, columns):
            value, index = best[row - 1, :column].max(0)
            best[row, column], came_from[row, column] = value + scores[row, column], index
    column = int(best[-1].argmax())
    chosen = [column]
    for row in range(rows - 1, 0, -1):
        chosen.append(int(came_from[row, chosen[-1]]))
    return [column + 1 for column in reversed(chosen)]


def most_alike(result: Probe) -> Sequence[tuple[str, str, float, float]]:
    """For each of the student's positions the teacher's that is most like it: both names, CKA, explained fraction."""
    return [(name, result.names_t[j], float(result.cka[i, j]), float(result.explained[i, j]))
            for i, (name, j) in enumerate(zip(result.names_g, result.cka.argmax(1).tolist(), strict=True))]
