"""The table of architectures: it is that of docs/networks.md, and says what is so."""
import more_networks
import pytest
import runs

from mipkd_arch.staged_views import viewed_classes
from mipkd_model.cli import main
from mipkd_model.commands.networks import table
from mipkd_model.networks.architectures import LICENSES, architectures

from basicsr.utils.registry import ARCH_REGISTRY

spandrel = pytest.importorskip('spandrel', reason='spandrel is not installed')
TESTED = {type(more_networks.build(name)) for name in [*more_networks.TEACHERS, *more_networks.STUDENTS]}
TESTED_ELSEWHERE = ('EDSR', 'SwinIR', 'RCAN', 'DAT')  # tests/test_staged_views.py and tests/test_spandrel.py


def test_the_stored_page_has_what_the_command_prints(capsys):
    assert not main(['networks', '--format', 'markdown'])
    assert capsys.readouterr().out.strip() in (runs.ROOT / 'docs/networks.md').read_text()


def test_every_view_is_compared_with_its_network_bit_for_bit():
    for cls in viewed_classes():
        if cls.__module__.startswith(('basicsr.', 'spandrel.')):
            assert cls.__name__ in TESTED_ELSEWHERE or any(issubclass(kind, cls) for kind in TESTED), cls


def test_every_student_is_registered():
    for row in architectures():
        assert all(kind in ARCH_REGISTRY or f'{kind}_basicsr' in ARCH_REGISTRY
                   for kind in filter(None, row.student.split(', '))), row


def test_every_architecture_of_spandrel_is_listed_that_restores_whole_rgb_images():
    others = {'AuraSR', 'GFPGAN', 'LaMa', 'MMRealSR', 'RestoreFormer'}  # faces, holes, or more than one input
    assert {entry.architecture.id for entry in spandrel.MAIN_REGISTRY} - others == set(LICENSES)


def test_the_table_on_the_screen_has_a_line_for_each():
    rows = list(architectures())
    assert len(table(rows, markdown=False).splitlines()) == len(rows) + 2
