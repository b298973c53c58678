"""``mipkd figure crops``: the figure holds the pixels and numbers that it must."""
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluated import BICUBIC, CROPPED, evaluated, figure_command, made_up, shown, write_images
from matplotlib.offsetbox import TextArea
from matplotlib.text import Text
from PIL import Image
from records import record
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.data.bicubic import imresize
from mipkd_model.reports.figures.crops import Underlined, draw_crops
from mipkd_model.reports.figures.pictures import (
    Pictures,
    choose_box,
    labels,
    metric_name,
    most_different_box,
    read_pictures,
    records_of,
)
from mipkd_model.reports.figures.style import save_figure

pytestmark = pytest.mark.usefixtures('own_folder')
refused = partial(refusal, kind=UserError)
protocol = partial(dict, record().protocol)
BOX = (8, 4, 16, 12)
SLICE = np.s_[4:16, 8:24]


def crops(*arguments):
    figure_command('crops', *arguments, '--dataset', 'Set5', '--image', 'bird')


@pytest.fixture
def gt(tmp_path):
    return write_images(tmp_path)


@pytest.fixture
def outputs():
    return made_up('Teacher', 'Scratch', 'FAKD', 'MiPKD')


def drawn(folders, box=BOX, columns=None):
    return draw_crops(read_pictures(records_of(folders, 'Set5'), 'bird'), box, columns)


@pytest.fixture
def axes(tmp_path, gt, outputs):
    """Of a figure of all methods: the whole image, then the crops."""
    scores = {'Teacher': (33, 0.99), 'Scratch': (30, 0.8), 'FAKD': (31.004, 0.9), 'MiPKD': (31.001, 0.7)}
    return drawn([evaluated(tmp_path, method, output, *scores[method]) for method, output in outputs.items()]).axes


def caption(axes):
    """The areas of text below axes."""
    return [area for area in axes.artists[0].findobj(TextArea)]


def lines(axes):
    name, *values = (area.get_text() for area in caption(axes))
    return name, ''.join(values)


def test_the_crops_are_hr_bicubic_and_the_outputs_in_their_order(axes, tmp_path, gt, outputs):
    lq = np.array(Image.open(tmp_path / 'X4' / 'birdx4.png'))
    bicubic = imresize(lq, 4)
    for part, image in zip(axes[1:], [gt, bicubic, *outputs.values()], strict=True):
        np.testing.assert_array_equal(shown(part), image[SLICE])
        assert part.images[0].get_interpolation() == 'nearest'


def test_bicubic_is_close_to_that_of_opencv_which_has_another_kernel(axes, tmp_path):
    lq = cv2.imread(str(tmp_path / 'X4' / 'birdx4.png'))[..., ::-1]
    other = cv2.resize(lq, CROPPED[::-1], interpolation=cv2.INTER_CUBIC)
    assert np.abs(shown(axes[2]).astype(float) - other[SLICE]).mean() < 5


def test_the_whole_image_is_gt_cropped_to_a_multiple_of_the_scale_with_the_box_drawn(axes, gt):
    np.testing.assert_array_equal(shown(axes[0]), gt)
    box, = axes[0].patches
    assert box.get_bbox().bounds == (7.5, 3.5, 16, 12)  # around whole pixels
    assert [area.get_text() for area in caption(axes[0])] == ['bird (Set5 ×4)']


def test_below_a_crop_are_its_name_and_the_scores_of_the_image(axes):
    assert [lines(part) for part in axes[1:]] == [
        ('HR', 'PSNR/SSIM'), ('Bicubic', f'{BICUBIC["psnr"]:.2f}/{BICUBIC["ssim"]:.4f}'), ('Teacher', '33.00/0.9900'),
        ('Scratch', '30.00/0.8000'), ('FAKD', '31.00/0.9000'), ('MiPKD', '31.00/0.7000')]


def test_the_best_student_is_bold_and_the_second_underlined_as_printed(axes):
    areas = [area for part in axes for area in caption(part)]
    bold = [area.get_text() for area in areas if area.findobj(Text)[0].get_weight() == 'bold']
    assert bold == ['31.00', '0.9000', '31.00']  # 31.004 and 31.001 are equal to the reader; the teacher is apart
    assert [area.get_text() for area in areas if isinstance(area, Underlined)] == ['30.00', '0.8000']


def test_a_single_student_is_not_marked(tmp_path, gt, outputs):
    folders = [evaluated(tmp_path, method, outputs[method]) for method in ('Teacher', 'MiPKD')]
    for part in drawn(folders).axes:
        assert not any(isinstance(area, Underlined) for area in caption(part))
        assert {text.get_weight() for text in part.artists[0].findobj(Text)} == {'normal'}


def marks(made):
    """By name of the crop the marks of PSNR and SSIM: * is bold, _ underlined."""
    found = {}
    for part in made.axes[2:]:
        name, psnr, _, ssim = caption(part)
        found[name.get_text()] = ''.join(
            '_' if isinstance(area, Underlined) else '*' if area.findobj(Text)[0].get_weight() == 'bold' else '-'
            for area in (psnr, ssim))
    return found


def test_students_are_ranked_among_those_of_their_pair_alone(tmp_path, gt, outputs):
    scores = {('FAKD', 'EDSR'): (30, 0.7), ('MiPKD', 'EDSR'): (31, 0.6), ('FAKD', 'RCAN'): (32, 0.8),
              ('MiPKD', 'RCAN'): (33, 0.9), ('MiPKD', 'SwinIR'): (34, 0.95), ('Teacher', 'EDSR'): (35, 0.99)}
    folders = [evaluated(tmp_path, method, outputs['MiPKD'], *score, pair=pair, name=f'test_{method}_{pair}')
               for (method, pair), score in scores.items()]
    assert marks(drawn(folders)) == {
        'Bicubic': '--', 'FAKD (EDSR)': '_*', 'MiPKD (EDSR)': '*_', 'FAKD (RCAN)': '__', 'MiPKD (RCAN)': '**',
        'MiPKD (SwinIR)': '--', 'Teacher (EDSR)': '--'}


def test_students_with_self_ensemble_are_ranked_among_themselves(tmp_path, gt, outputs):
    folders = [evaluated(tmp_path, method, outputs['MiPKD'], psnr, name=f'test_{method}_{ensemble}',
                         protocol=protocol(self_ensemble=ensemble))
               for method, ensemble, psnr in (('FAKD', False, 30), ('MiPKD', False, 31), ('FAKD', True, 32))]
    assert marks(drawn(folders)) == {'Bicubic': '--', 'FAKD': '_*', 'MiPKD': '**', 'FAKD+': '--'}


def test_five_crops_are_one_row(tmp_path, gt, outputs):
    folders = [evaluated(tmp_path, method, output) for method, output in list(outputs.items())[:3]]
    assert len({part.get_position().y0 for part in drawn(folders).axes[1:]}) == 1


def test_a_shorter_last_row_is_in_the_middle(axes, tmp_path, gt, outputs):
    parts = [part.get_position() for part in drawn(sorted(tmp_path.glob('test_*')), columns=4).axes[1:]]
    first, last = parts[:4], parts[4:]
    assert last[0].x0 + last[-1].x1 == pytest.approx(first[0].x0 + first[-1].x1)
    assert last[1].x0 - last[0].x0 == pytest.approx(first[1].x0 - first[0].x0)


@pytest.mark.parametrize('count, columns, rows', [(1, None, 1), (2, None, 2), (4, None, 2), (4, 6, 1), (4, 2, 3)])
def test_the_crops_fill_rows_beside_the_image_without_overlap(tmp_path, gt, outputs, count, columns, rows):
    folders = [evaluated(tmp_path, method, output) for method, output in list(outputs.items())[:count]]
    made = drawn(folders, columns=columns)
    whole, *parts = (part.get_position() for part in made.axes)
    assert len({round(part.y0, 6) for part in parts}) == rows
    width, height = made.get_size_inches()
    for part, ratio in ((whole, 44 / 60), *((part, 12 / 16) for part in parts)):
        assert part.height * height / (part.width * width) == pytest.approx(ratio)
    made.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in made.axes]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])


def test_a_pixel_of_a_crop_is_a_whole_number_of_pixels_of_the_file(axes):
    part = axes[1].get_window_extent()
    assert part.width / 16 == pytest.approx(round(part.width / 16))
    assert part.width / 16 == pytest.approx(part.height / 12)


def test_the_box_is_where_the_errors_of_the_methods_vary_most():
    gt = np.full((40, 50, 3), 128, np.uint8)
    both, one = gt.copy(), gt.copy()
    both[2:8, 2:8] = one[2:8, 2:8] = 250  # a large error, but the same of both
    one[21:25, 31:37, 1] = 168
    x, y, width, height = most_different_box(gt, [both, one], (6, 4))
    assert (x, y, width, height) == (31, 21, 6, 4)


def test_the_box_is_the_one_that_trying_all_gives():
    rng = np.random.default_rng(2)
    gt, *made = rng.integers(0, 256, (4, 15, 17, 3), dtype=np.uint8)
    errors = [((output.astype(float) - gt)**2).mean(2) for output in made]
    sums = {(x, y): np.var(errors, axis=0)[y:y + 3, x:x + 5].sum() for x in range(13) for y in range(13)}
    assert most_different_box(gt, made, (5, 3)) == (*max(sums, key=sums.get), 5, 3)


@pytest.mark.parametrize('size, expected', [((6, 4), (40, 32, 6, 4)), ((44, 34), (3, 3, 44, 34))])
def test_the_box_keeps_from_the_edges_as_far_as_it_can(size, expected):
    gt = np.zeros((40, 50, 3), np.uint8)
    other = gt.copy()
    other[-1:, -1:] = 200  # only seen where the box reaches into the corner
    other[35, 45] = 10
    assert most_different_box(gt, [gt, other], size, border=4) == expected


def test_the_line_of_a_box_in_the_corner_is_whole(tmp_path, gt, outputs):
    made = drawn([evaluated(tmp_path, 'MiPKD', outputs['MiPKD'])], box=(44, 32, 16, 12))
    pixels = np.asarray(Image.open(save_figure(made, tmp_path / 'corner.png')).convert('RGB')).astype(int)
    red = np.abs(pixels - (0xe8, 0, 0x0b)).max(2) < 30
    for axis in (0, 1):
        count = red.sum(axis)
        places = np.flatnonzero(count > count.max() / 2)
        inner, outer = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
        assert abs(len(inner) - len(outer)) <= 1 and len(outer) == pytest.approx(made.dpi / 72, abs=1.5)


def test_a_single_method_is_compared_with_bicubic(tmp_path, gt, outputs):
    pictures = read_pictures(records_of([evaluated(tmp_path, 'MiPKD', outputs['MiPKD'])], 'Set5'), 'bird')
    expected = most_different_box(gt, [outputs['MiPKD'], pictures.bicubic], (8, 8), border=4)
    assert choose_box(pictures) == expected


@pytest.mark.parametrize('shape, side', [((480, 500, 3), 96), ((500, 250, 3), 48), ((47, 62, 3), 8), ((6, 9, 3), 6)])
def test_the_box_is_a_fifth_of_the_shorter_side_down_to_a_multiple_of_8(shape, side):
    gt = np.zeros(shape, np.uint8)
    assert choose_box(Pictures('bird', 'Set5', 4, gt, gt, [], [gt, gt]))[2:] == (side, side)


def test_methods_that_coincide_are_called_by_the_names_of_their_runs():
    records = [record(name='test_0'), record(name='test_1'), record('FAKD')]
    assert labels(records) == ['test_0', 'test_1', 'FAKD']


def test_a_method_with_self_ensemble_has_a_plus():
    assert labels([record(), record(protocol=protocol(self_ensemble=True))]) == ['MiPKD', 'MiPKD+']


def test_the_pair_is_named_where_pairs_differ_and_the_run_only_where_that_is_not_enough():
    records = [record(), record(pair='RCAN'), record('FAKD')]
    assert labels(records) == ['MiPKD (EDSR)', 'MiPKD (RCAN)', 'FAKD (EDSR)']
    assert labels([*records, record(name='again')]) == ['test_MiPKD_EDSR_x4', 'MiPKD (RCAN)', 'FAKD (EDSR)', 'again']


def test_a_dollar_in_a_name_is_a_dollar(tmp_path, gt, outputs):
    made = drawn([evaluated(tmp_path, '$A_b$', outputs['MiPKD'])])
    made.draw_without_rendering()
    assert lines(made.axes[3])[0] == '$A_b$'
    assert not any(text.get_parse_math() for text in made.axes[3].artists[0].findobj(Text))


def test_metrics_are_found_by_their_type_and_on_y_first(tmp_path, gt, outputs):
    metrics = {'rgb': {'type': 'calculate_psnr', 'crop_border': 4},
               'y': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True}}
    folder = evaluated(tmp_path, 'MiPKD', None, protocol=protocol(metrics=metrics))
    record, = records_of([folder], 'Set5')
    assert metric_name(record, 'calculate_psnr') == 'y' and metric_name(record, 'calculate_ssim') is None


def test_a_folder_of_several_results_gives_all_of_them_without_those_of_training(tmp_path, gt, outputs):
    evaluated(tmp_path, 'MiPKD', outputs['MiPKD'])
    evaluated(tmp_path, 'FAKD', outputs['FAKD'])
    evaluated(tmp_path, 'Scratch', outputs['Scratch'], iteration=100)
    assert labels(records_of([tmp_path], 'Set5')) == ['FAKD', 'MiPKD']
    file = tmp_path / 'test_Scratch' / 'records' / 'Set5.json'
    assert labels(records_of([file], 'Set5')) == ['Scratch']  # it is what was asked for


@pytest.mark.parametrize('suffix, start', [('.pdf', b'%PDF'), ('.png', b'\x89PNG'), ('.svg', b'<?xml')])
def test_the_command_writes_the_kind_of_its_suffix_and_says_which_box(tmp_path, gt, outputs, capsys, suffix, start):
    out = tmp_path / 'made' / f'crops{suffix}'
    crops(evaluated(tmp_path, 'MiPKD', outputs['MiPKD']), '--box', '8,4,16,12', '--out', out)
    assert out.read_bytes().startswith(start) and [file.name for file in out.parent.iterdir()] == [out.name]
    assert capsys.readouterr().out == f'{out}: --box 8,4,16,12\n'
    assert 'matplotlib.pyplot' not in sys.modules


def test_text_of_a_pdf_is_truetype_and_the_same_figure_the_same_bytes(tmp_path, axes):
    first, again = (save_figure(axes[0].figure, tmp_path / name).read_bytes() for name in ('a.pdf', 'b.pdf'))
    assert b'CIDFontType2' in first and b'/Type3' not in first and first == again


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, axes, monkeypatch):
    out = tmp_path / 'out' / 'crops.pdf'
    out.parent.mkdir()
    out.write_text('old')

    def broken(file, **_):
        Path(file).write_text('half')
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(axes[0].figure, 'savefig', broken)
    with pytest.raises((OSError, UserError)):
        save_figure(axes[0].figure, out)
    assert [file.read_text() for file in out.parent.iterdir()] == ['old']


@pytest.mark.parametrize('options, message', [
    (['--out', 'x.jpeg'], "--out: the end of the name: '.jpeg' is not known"),
    (['--out', 'x'], "--out: the end of the name: '' is not known; allowed are '.pdf', "),
    (['--box', '1,2,3'], "--box: '1,2,3' is not of the form X,Y,W,H"),
    (['--box', '50,4,16,12'], '--box: 16x12 at (50, 4) does not lie in the image, which is 60x44'),
    (['--box=-1,4,16,12'], '--box: 16x12 at (-1, 4) does not lie in the image'),
    (['--box', '1,4,0,12'], '--box: 0x12 at (1, 4) does not lie in the image'),
    (['--box-size', '8'], "--box-size: '8' is not of the form W,H"),
    (['--box-size', '61,8'], '--box-size: 61,8 does not fit into the image, which is 60x44'),
    (['--columns', 0], '--columns: 0 is not an integer from 1 to 3'),
    (['--columns', 4], '--columns: 4 is not an integer from 1 to 3'),
    (['--image', 'brid'], "--image: 'brid' is not known (did you mean 'bird'?); allowed are 'bird'"),
    (['--dataset', 'Set6'], "--dataset: 'Set6' is not there (did you mean 'Set5'?); test_MiPKD has records of Set5")])
def test_a_wrong_option_is_one_line_and_nothing_is_written(tmp_path, gt, outputs, options, message):
    evaluated(tmp_path, 'MiPKD', outputs['MiPKD'])
    arguments = ['crops', 'test_MiPKD', '--dataset', 'Set5', '--image', 'bird', '--out', 'x.pdf', *options]
    before = sorted(tmp_path.rglob('*'))
    assert refused(figure_command, *arguments).startswith(message)
    assert sorted(tmp_path.rglob('*')) == before


def test_a_wrong_suffix_is_refused_before_any_record_is_read():
    assert refused(crops, 'nowhere', '--out', 'x.gif').startswith("--out: the end of the name: '.gif' is not known")


def test_an_image_that_was_not_saved_is_refused_with_the_command_that_saves_it(tmp_path, gt):
    folder = evaluated(tmp_path, 'MiPKD', None)
    assert refused(crops, folder, '--out', 'x.pdf') == (
        'test_MiPKD: its images were not saved; evaluate again with: python basicsr/test.py -opt '
        'options/test_MiPKD.yml --force_yml val:save_img=true')


def test_the_command_that_saves_images_keeps_what_was_changed(tmp_path, gt):
    folder = evaluated(tmp_path, 'MiPKD', None, command='python basicsr/test.py -opt a.yml --force_yml scale=4')
    assert refused(crops, folder, '--out', 'x.pdf').endswith('--force_yml scale=4 val:save_img=true')


def test_an_image_that_is_gone_or_has_another_size_is_named(tmp_path, gt, outputs):
    folder = evaluated(tmp_path, 'MiPKD', outputs['MiPKD'][:-1])
    file = folder / 'visualization' / 'birdx4.png'
    assert refused(crops, folder, '--out', 'x.pdf').startswith(f'{file}: is 60x43, but gt 60x44; ')
    file.unlink()
    assert refused(crops, folder, '--out', 'x.pdf').startswith(f'{file}: is not there; ')


@pytest.mark.parametrize('fields, part', [
    ({'scale': 2}, ': is of Set5 x2 (images cccccccc), but '),
    ({'changes': {'sha256': 'd' * 64}}, ': is of Set5 x4 (images dddddddd), but ')])
def test_records_of_other_scales_or_images_are_refused(tmp_path, gt, outputs, fields, part):
    folders = [evaluated(tmp_path, 'MiPKD', outputs['MiPKD']), evaluated(tmp_path, 'FAKD', outputs['FAKD'], **fields)]
    assert part in refused(crops, *folders, '--out', 'x.pdf')


def test_numbers_that_were_measured_differently_are_refused(tmp_path, gt, outputs):
    other = protocol(metrics={'psnr': {'type': 'calculate_psnr', 'crop_border': 2}})
    folders = [evaluated(tmp_path, 'MiPKD', outputs['MiPKD']),
               evaluated(tmp_path, 'FAKD', outputs['FAKD'], protocol=other)]
    assert refused(crops, *folders, '--out', 'x.pdf').startswith("test_FAKD: measured PSNR as {'type': ")


def test_records_of_training_alone_are_refused(tmp_path, gt, outputs):
    folder = evaluated(tmp_path, 'MiPKD', outputs['MiPKD'], iteration=100)
    assert refused(crops, folder, '--out', 'x.pdf').endswith('has records of unfinished trainings alone')
