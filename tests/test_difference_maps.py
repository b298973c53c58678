"""``mipkd figure maps``: the maps hold the differences of Y that they say."""
from functools import partial

import numpy as np
import pytest
from evaluated import evaluated, figure_command, made_up, shown, write_images
from records import record
from refusals import refusal
from skimage.color import rgb2ycbcr

from mipkd_arch.base.errors import UserError
from mipkd_model.reports.figures.maps import SIGNED, draw_maps
from mipkd_model.reports.figures.pictures import Pictures, choose_box, read_pictures, records_of

pytestmark = pytest.mark.usefixtures('own_folder')
refused = partial(refusal, kind=UserError)


def command(*arguments):
    figure_command('maps', *arguments, '--dataset', 'Set5', '--image', 'bird')


def y(image):
    """Y by scikit-image, in gray levels."""
    return rgb2ycbcr(image)[..., 0]


@pytest.fixture
def gt(tmp_path):
    return write_images(tmp_path)


@pytest.fixture
def outputs():
    return made_up('Teacher', 'FAKD', 'MiPKD')


@pytest.fixture
def folders(tmp_path, gt, outputs):
    return [evaluated(tmp_path, method, output) for method, output in outputs.items()]


@pytest.fixture
def drawn(folders):
    return draw_maps(read_pictures(records_of(folders, 'Set5'), 'bird'))


@pytest.fixture
def cells(drawn):
    """Axes by row and column."""
    return np.reshape(drawn.axes[:9], (3, 3))


def test_the_first_row_is_hr_teacher_and_how_far_it_is_from_hr(cells, gt, outputs):
    np.testing.assert_array_equal(shown(cells[0, 0]), gt)
    np.testing.assert_array_equal(shown(cells[0, 1]), outputs['Teacher'])
    expected = np.abs(y(outputs['Teacher']) - y(gt))
    np.testing.assert_allclose(shown(cells[0, 2]), expected, atol=1e-4)
    assert [axes.get_xlabel() for axes in cells[0]] == ['HR, bird (Set5 ×4)', 'Teacher',
                                                        f'|Teacher − HR|, mean {expected.mean():.2f}']


@pytest.mark.parametrize('row, method', [(1, 'FAKD'), (2, 'MiPKD')])
def test_a_student_has_its_output_its_distance_and_its_advantage(cells, gt, outputs, row, method):
    student, teacher, hr = y(outputs[method]), y(outputs['Teacher']), y(gt)
    distance, advantage = np.abs(student - teacher), np.abs(teacher - hr) - np.abs(student - hr)
    np.testing.assert_array_equal(shown(cells[row, 0]), outputs[method])
    np.testing.assert_allclose(shown(cells[row, 1]), distance, atol=1e-4)
    np.testing.assert_allclose(shown(cells[row, 2]), advantage, atol=1e-4)
    assert cells[row, 0].get_xlabel() == method
    assert cells[row, 1].get_xlabel() == f'|{method} − Teacher|, mean {distance.mean():.2f}'
    mean = f'mean {advantage.mean():+.2f}'.replace('-', '−')
    assert cells[row, 2].get_xlabel().replace('\n', ', ') == f'|Teacher − HR| − |{method} − HR|, {mean}'


def test_a_student_like_hr_is_nearer_everywhere_and_blue(tmp_path, gt, outputs):
    folders = [evaluated(tmp_path, 'Teacher', outputs['Teacher']), evaluated(tmp_path, 'MiPKD', gt)]
    axes = draw_maps(read_pictures(records_of(folders, 'Set5'), 'bird')).axes[5]
    assert shown(axes).min() >= 0
    red, _, blue, _ = axes.images[0].to_rgba(np.array([[axes.images[0].norm.vmax]]))[0, 0]
    assert blue > red


def test_zero_is_white_and_both_signs_are_equally_strong(cells):
    image = cells[1, 2].images[0]
    assert tuple(image.to_rgba(np.zeros((1, 1)))[0, 0]) == (1, 1, 1, 1)
    assert image.norm.vmin == -image.norm.vmax and image.get_cmap() is not None and SIGNED.N % 2 == 1


def test_all_students_share_their_scales_which_end_at_the_99_5th_percentile(cells):
    for column, size in ((1, np.asarray), (2, np.abs)):
        limits = {axes.images[0].norm.vmax for axes in cells[1:, column]}
        values = np.sort(np.concatenate([size(shown(axes)).ravel() for axes in cells[1:, column]]))
        assert len(limits) == 1 and np.mean(values <= limits.pop()) == pytest.approx(0.995, abs=0.001)
        assert {axes.images[0].norm.vmin for axes in cells[1:, 1]} == {0}


def test_a_student_that_equals_its_teacher_is_drawn(tmp_path, gt, outputs):
    folders = [evaluated(tmp_path, method, outputs['Teacher']) for method in ('Teacher', 'MiPKD')]
    axes = draw_maps(read_pictures(records_of(folders, 'Set5'), 'bird')).axes
    assert not shown(axes[4]).any() and axes[5].get_xlabel().endswith('mean +0.00')


def test_there_is_a_color_bar_for_each_kind_of_map(drawn):
    assert [axes.get_xlabel() for axes in drawn.axes[9:]] == [
        '|Teacher − HR| (gray levels)', '|student − Teacher| (gray levels)', 'student nearer to HR by (gray levels)']


@pytest.mark.parametrize('name', ['test_MiPKD', 'test_MiPKD_SwinIR-EDSR_depth_x4_with_much_behind_it'])
def test_nothing_overlaps_nor_has_ticks(tmp_path, folders, outputs, name):
    student = evaluated(tmp_path, 'MiPKD', outputs['MiPKD'], name=f'{name}_2')  # the method twice: names are shown
    made = draw_maps(read_pictures(records_of([*folders, student], 'Set5'), 'bird'))
    made.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in made.axes]
    for index, box in enumerate(boxes):
        assert not any(box.padded(-1).overlaps(other) for other in boxes[:index])
    assert not any(len(axes.get_xticks()) for axes in made.axes[:12])


def test_a_caption_is_two_lines_where_one_is_wider_than_the_image(cells):
    assert cells[1, 2].get_xlabel().startswith('|Teacher − HR| − |FAKD − HR|, mean ')
    assert cells[2, 2].get_xlabel().startswith('|Teacher − HR| − |MiPKD − HR|\nmean ')


@pytest.mark.parametrize('size, count', [((90, 40), 3), ((60, 40), 6), ((40, 60), 9)])
def test_the_figure_fits_a_page_and_its_texts_do_not_touch(size, count):
    images = np.random.default_rng(2).integers(0, 256, (count + 2, *size, 3), dtype=np.uint8)
    records = [record('Teacher'), *(record(f'MiPKD-{number}') for number in range(count))]
    gt, *outputs = images
    made = draw_maps(Pictures('bird', 'Set5', 4, gt, gt, records, outputs))
    made.draw_without_rendering()
    assert made.get_tightbbox().height < 9.3
    boxes = [axes.get_tightbbox() for axes in made.axes]
    for index, box in enumerate(boxes):
        assert not any(box.padded(-1).overlaps(other) for other in boxes[:index])


def test_the_command_writes_the_figure(tmp_path, folders, capsys):
    out = tmp_path / 'maps.png'
    command(*folders, '--out', out)
    assert out.read_bytes().startswith(b'\x89PNG') and capsys.readouterr().out == f'{out}\n'


def test_several_teachers_and_no_student_are_refused(tmp_path, folders):
    assert refused(command, tmp_path, folders[1], '--out', 'x.pdf') == (
        f'TEACHER_RECORD: {tmp_path} has 3 records of Set5, of test_FAKD, test_MiPKD, test_Teacher; name one of them')
    assert refused(command, folders[0], folders[0], '--out', 'x.pdf').startswith('STUDENT_RECORD: ')
    assert refused(command, *folders, '--out', 'x.gif').startswith("--out: the end of the name: '.gif' is not known")


def test_the_box_of_the_crops_is_in_every_image_and_can_be_chosen(tmp_path, folders):
    pictures = read_pictures(records_of(folders, 'Set5'), 'bird')
    for box in (choose_box(pictures), (3, 4, 10, 8)):
        for axes in draw_maps(pictures, box).axes[:6]:
            patch, = axes.patches
            assert (patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()) == (
                box[0] - 0.5, box[1] - 0.5, *box[2:])
    assert refused(command, *folders, '--out', 'x.pdf', '--box', '50,50,90,90').startswith('--box: ')


@pytest.mark.parametrize('suffix, head', [('.jpg', b'\xff\xd8'), ('.png', b'\x89PNG'), ('.pdf', b'%PDF')])
def test_every_kind_of_file_is_written(tmp_path, folders, suffix, head):
    command(*folders, '--out', tmp_path / f'maps{suffix}')
    assert (tmp_path / f'maps{suffix}').read_bytes().startswith(head)
