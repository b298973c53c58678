"""``mipkd figure page``: one file with the pixels, figures and curves that it must have, usable in a browser."""
import base64
import io
import json
import re
from functools import partial

import numpy as np
import pytest
from browser import Browser
from evaluated import CROPPED, evaluated, figure_command, made_up, write_images
from PIL import Image
from records import record, written
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.data.bicubic import imresize, shrink
from mipkd_model.evaluation.records import ImageRecord
from mipkd_model.reports.figures.page import SIDE, data_uri, filled, make_page
from mipkd_model.reports.figures.pictures import records_of

pytestmark = pytest.mark.usefixtures('own_folder')
refused = partial(refusal, kind=UserError)
command = partial(figure_command, 'page')
NAME = '<b>&</script>'


def data_of(html):
    """What the script of a page reads."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])


def pixels(source):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition('base64,')[2]))))


@pytest.fixture
def gt(tmp_path):
    return write_images(tmp_path)


@pytest.fixture
def outputs():
    return made_up('Teacher', NAME, 'MiPKD')


@pytest.fixture
def runs(tmp_path, gt, outputs):
    """Folders of the results of these networks."""
    return [evaluated(tmp_path, method, output, psnr=30 + number, name=f'test_{number}')
            for number, (method, output) in enumerate(outputs.items())]


@pytest.fixture
def page(tmp_path, runs):
    """The page of these results."""
    command(*runs, '--out', 'page.html')
    return (tmp_path / 'page.html').read_text(encoding='utf-8')


def test_the_page_holds_the_pixels_of_bicubic_each_network_and_hr(page, tmp_path, gt, outputs):
    data = data_of(page)
    assert data['labels'] == ['Bicubic', *outputs, 'HR'] and data['labels'][data['right']] == 'MiPKD'
    image, = data['images']
    bicubic = imresize(np.asarray(Image.open(tmp_path / 'X4/birdx4.png')), size=CROPPED)
    for source, expected in zip(image['sources'], [bicubic, *outputs.values(), gt], strict=True):
        assert np.array_equal(pixels(source), expected)
    assert image['size'] == [60, 44] and image['offset'] == [0, 0] and image['note'] == ''


def test_the_table_has_the_figures_of_each_image_and_their_means(page):
    rows = [[re.sub('<[^>]*>', '', cell) for cell in re.findall(r'<t[hd].*?</t[hd]>', row)]
            for row in re.findall(r'<tr>(.*?)</tr>', page)]
    assert rows[0] == ['Image', 'Bicubic', 'Teacher', '&lt;b&gt;&amp;&lt;/script&gt;', 'MiPKD']
    assert rows[1] == ['PSNR', 'SSIM'] * 4
    assert rows[2][:5] == ['bird', '20.50', '0.5000', '30.00', '0.8000'] and rows[2][-2] == '32.00'
    assert rows[3][0] == 'Mean' and rows[3][-2:] == ['32.00', '0.9000']
    assert '<td class="best">32.00</td>' in page and '<td class="second">31.00</td>' in page


def test_names_are_text_and_never_markup(page):
    assert '<b>' not in page and page.count('</script>') == 2 and page.count('{{') == 0


def test_the_page_asks_for_nothing_from_anywhere(page):
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)\s*=\s*["\']?(?!#|data:)[\w/.]', page.partition('<script')[0])
    assert {*re.findall(r'https?://[^"\s]*', page)} <= {'http://www.w3.org/2000/svg', 'http://www.w3.org/1999/xlink'}


def test_of_a_large_image_the_part_is_shown_where_the_networks_differ_most(tmp_path):
    gt = np.zeros((520, 600, 3), np.uint8)
    gt[::7] = 200
    for name, image, file in (('HR', gt, 'large.png'), ('X4', shrink(gt, 4), 'largex4.png')):
        (tmp_path / name).mkdir()
        Image.fromarray(image).save(tmp_path / name / file)
    worse = gt.copy()
    worse[515:, 595:] = 90
    Image.fromarray(worse).save(tmp_path / 'worse.png')
    dataset = {**record().dataset, 'gt': str(tmp_path / 'HR'), 'lq': str(tmp_path / 'X4')}
    one, other = (record(method=method, dataset='x', images={'large': ImageRecord(
        scores={'psnr': 30., 'ssim': .9}, bicubic={'psnr': 28., 'ssim': .8}, lq='largex4', output=output)})
        for method, output in (('Scratch', str(tmp_path / 'HR/large.png')), ('MiPKD', 'worse.png')))
    for made in (one, other):
        made.dataset.update(dataset)
    made = make_page([one, other])
    image, = data_of(made.html)['images']
    x, y = image['offset']
    assert image['size'] == [SIDE, SIDE] and x + SIDE > 595 and y + SIDE > 515
    assert np.array_equal(pixels(image['sources'][2]), worse[y:y + SIDE, x:x + SIDE])
    assert image['note'] == '512×512 of 600×520 pixels, where the networks differ most.'
    assert made.summary.startswith('1 of 1 images, 1 of them cut to 512 pixels a side; no curves, ')


def test_what_is_written_is_said_in_one_line(page, capsys, runs):
    command(runs[0], '--out', 'again.html')
    said = capsys.readouterr().out
    assert re.fullmatch(r'again\.html: 1 of 1 images; no curves, [\w ]+; \d+\.\d MB\n', said)


def test_the_curves_are_those_of_the_trainings_that_the_weights_are_from(tmp_path, gt, outputs):
    for iteration in (100, 200, 300):
        written(tmp_path / 'experiments', name='train_x', psnr=30 + iteration / 100, iteration=iteration)
        file = tmp_path / f'experiments/train_x/records/Set5_{iteration}.json'
        file.with_name('Set5.json').rename(file)
    (tmp_path / 'experiments/train_x/run.json').write_text('{}')
    weights = {'file': 'experiments/train_x/models/net_g_latest.pth', 'sha256': 'a' * 64, 'key': 'params_ema'}
    folder = evaluated(tmp_path, 'MiPKD', outputs['MiPKD'], checkpoint=weights)
    made = make_page(records_of([folder]))
    assert made.html.count('<svg') == 1 and '<metadata' not in made.html and 'curves' not in made.summary
    again = make_page(records_of([folder]))
    assert again == made, 'the same records give the same bytes'


def test_a_page_of_metrics_that_are_neither_psnr_nor_ssim_has_no_table(gt, tmp_path, outputs):
    protocol = {**record().protocol, 'metrics': {'niqe': {'type': 'calculate_niqe', 'crop_border': 4}}}
    made = make_page(records_of([evaluated(tmp_path, 'MiPKD', outputs['MiPKD'], protocol=protocol)]))
    assert '<table' not in made.html and data_of(made.html)['images'][0]['scores'] == ['', '', '']


@pytest.mark.parametrize('options, message', [
    (['--out', 'x.pdf'], "--out: the end of the name: '.pdf' is not known; allowed are '.html'"),
    (['--images', 'brid'], "--images: 'brid' is not known (did you mean 'bird'?); allowed are 'bird'"),
    (['--dataset', 'Set6'], "--dataset: 'Set6' is not there (did you mean 'Set5'?)")])
def test_a_wrong_option_is_one_line_and_nothing_is_written(tmp_path, runs, options, message):
    before = sorted(tmp_path.rglob('*'))
    assert refused(command, *runs, '--out', 'x.html', *options).startswith(message)
    assert sorted(tmp_path.rglob('*')) == before


def test_images_that_were_not_saved_are_refused_with_the_command_that_saves_them(tmp_path, gt):
    folder = evaluated(tmp_path, 'MiPKD', None)
    assert refused(command, folder, '--out', 'x.html').endswith('--force_yml val:save_img=true')


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    made = Browser(tmp_path_factory.mktemp('browser'))
    yield made
    made.close()


@pytest.fixture
def two(tmp_path):
    """A page of two images of 200x120 pixels, with flat colors for bicubic (red), one network (green) and HR (blue)."""
    colors = [Image.new('RGB', (200, 120), color) for color in ('red', 'lime', 'blue')]
    sources = [data_uri(np.asarray(color)) for color in colors]
    image = {'size': [200, 120], 'offset': [8, 0], 'box': [40, 40, 24, 24], 'note': '', 'sources': sources,
             'scores': ['20.50', '31.00', '']}
    data = {'labels': ['Bicubic', 'MiPKD', 'HR'], 'right': 1,
            'images': [{**image, 'name': 'bird'}, {**image, 'name': 'head', 'sources': sources[::-1]}]}
    parts = {name: '' for name in ('summary', 'curves', 'origin')}
    parts.update(title='Set5 ×4', data=json.dumps(data), table='<div class="scroll"><table><tr>' + ''.join(
        f'<th scope="row"><button data-image="{index}">x</button></th>' + '<td>30.12</td>' * 20 for index in (0, 1)
        ) + '</tr></table></div>')
    (tmp_path / 'two.html').write_text(filled(**parts), encoding='utf-8')
    return tmp_path / 'two.html'


def colors(browser, tmp_path, *places):
    """Colors of a window at places (x, y) of the image, in its own pixels at the scale of the screen."""
    browser.screenshot(tmp_path / 'shot.png')
    left, top, scroll = browser.run('(r => [r.left, r.top, scrollY])(find("view").getBoundingClientRect())')
    shot = np.asarray(Image.open(tmp_path / 'shot.png').convert('RGB'))
    return [tuple(int(value) for value in shot[int(top + scroll + y), int(left + x)]) for x, y in places]


RED, LIME, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def test_the_divider_is_dragged_and_is_moved_by_keys(browser, two, tmp_path):
    browser.open(two)
    left, top, width = browser.run('(r => [r.left, r.top, r.width])(find("view").getBoundingClientRect())')
    y = 2 * 110
    assert colors(browser, tmp_path, (0.4 * width, y), (0.6 * width, y)) == [RED, LIME]
    browser.drag((left + 0.5 * width, top + y), (left + 0.7 * width, top + y), (left + 0.75 * width, top + y))
    assert browser.run('find("split").value') == '75'
    assert colors(browser, tmp_path, (0.7 * width, y), (0.8 * width, y)) == [RED, LIME]
    browser.run('find("split").focus()')
    for _ in range(4):
        browser.press('ArrowLeft')
    assert browser.run('[find("split").value, find("split").getAttribute("aria-valuetext")]') == ['73', '73 % Bicubic']
    browser.run('find("right").value = 2, find("right").dispatchEvent(new Event("change"))')
    browser.wait('find("under").complete')
    assert colors(browser, tmp_path, (0.8 * width, y)) == [BLUE]
    assert browser.run('find("name-right").textContent') == 'HR'


def test_the_box_follows_a_click_and_the_arrow_keys_and_the_crops_show_it(browser, two):
    browser.open(two)
    assert browser.run('find("place").textContent') == '24×24 pixels at 48, 40'
    left, top = browser.run('(r => [r.left, r.top])(find("view").getBoundingClientRect())')
    scale = browser.run('scale')
    browser.drag((left + 130 * scale, top + 60 * scale))
    assert browser.run('[find("place").textContent, find("split").value]') == ['24×24 pixels at 126, 48', '50']
    browser.run('view.focus()')
    browser.press('ArrowRight')
    browser.press('ArrowUp', shift=True)
    assert browser.run('find("place").textContent') == '24×24 pixels at 130, 32'
    for _ in range(9):
        browser.press('ArrowUp', shift=True)
    assert browser.run('find("place").textContent') == '24×24 pixels at 130, 0', 'it stays inside'
    crops = browser.run('tiles.map(tile => [...tile.getContext("2d").getImageData(12, 12, 1, 1).data])')
    assert crops == [[*color, 255] for color in (RED, LIME, BLUE)]
    assert browser.run('tiles.map(tile => tile.nextElementSibling.textContent)') == [
        'Bicubic\n20.50', 'MiPKD\n31.00', 'HR']


def test_a_finger_drags_the_divider_too(browser, two):
    browser.open(two, width=375, height=700)
    left, top, width = browser.run('(r => [r.left, r.top, r.width])(find("view").getBoundingClientRect())')
    for kind, place in (('touchStart', 0.2), ('touchMove', 0.3), ('touchMove', 0.4), ('touchEnd', None)):
        points = [] if place is None else [{'x': left + place * width, 'y': top + 10}]
        browser.call('Input.dispatchTouchEvent', type=kind, touchPoints=points)
    assert float(browser.run('split.value')) == pytest.approx(40, abs=1)


def test_zooming_keeps_the_box_in_sight_and_the_divider_where_it_is(browser, two, tmp_path):
    browser.open(two, width=375, height=700)
    browser.run('view.focus()')
    for _ in range(4):
        browser.press('+')
    assert browser.run('[zoom.value, sheet.clientWidth, view.classList.contains("large")]') == ['8', 1600, True]
    seen, box = browser.run('[view, find("box")].map(one => (r => [r.left, r.right])(one.getBoundingClientRect()))')
    assert seen[0] < box[0] and box[1] < seen[1]
    width = browser.run('view.clientWidth')
    assert colors(browser, tmp_path, (0.45 * width, 10), (0.55 * width, 10)) == [RED, LIME]
    browser.press('-')
    assert browser.run('zoom.value') == '4'


def test_an_image_is_chosen_in_the_list_or_in_the_table(browser, two, tmp_path):
    browser.open(two)
    browser.run('document.querySelectorAll("th button")[1].click()')
    browser.wait('document.body.dataset.ready == "head"')
    assert browser.run('find("image").selectedOptions[0].text') == 'head'
    assert colors(browser, tmp_path, (10, 220)) == [BLUE]
    pressed = '[...document.querySelectorAll("th button")].map(one => one.getAttribute("aria-pressed"))'
    assert browser.run(pressed) == ['false', 'true']


@pytest.mark.parametrize('width', [320, 375, 1280])
def test_nothing_is_wider_than_the_window_but_the_table_which_scrolls(browser, two, width):
    browser.open(two, width=width)
    assert browser.run('document.documentElement.scrollWidth') <= width
    small = browser.run('[...document.querySelectorAll("select, input, button")].filter(one => '
                        'one.getBoundingClientRect().height < 24).map(one => one.outerHTML)')
    assert small == []


def test_all_that_can_be_used_is_reached_by_tab_and_has_a_name(browser, two):
    browser.open(two)
    reached = []
    for _ in range(8):
        browser.press('Tab')
        reached.append(browser.run('document.activeElement.id || document.activeElement.dataset.image'))
    assert reached == ['image', 'left', 'right', 'zoom', 'view', 'split', '0', '1']
    assert browser.run('[...document.querySelectorAll("select, input")].every(one => '
                       'one.labels.length || one.ariaLabel)')


def test_a_dark_screen_gets_a_dark_page(browser, two):
    background = 'getComputedStyle(document.body).backgroundColor'
    browser.open(two, dark=True)
    assert browser.run(background) == 'rgb(21, 23, 26)'
    browser.open(two)
    assert browser.run(background) == 'rgb(255, 255, 255)'


def test_the_page_of_a_command_works_without_errors_and_requests(browser, page, tmp_path):
    browser.open(tmp_path / 'page.html')
    assert browser.run('pictures.every(picture => picture.naturalWidth == 60)')
    browser.call('Emulation.setDeviceMetricsOverride', width=320, height=700, deviceScaleFactor=2, mobile=True)
    browser.wait('document.documentElement.scrollWidth <= 320')  # whatever names and files are called
    asked = [event['params']['request']['url'] for event in browser.events
             if event.get('method') == 'Network.requestWillBeSent']
    assert {url.partition(':')[0] for url in asked} <= {'file', 'data', 'about'}
    bad = [event for event in browser.events if event.get('method') in ('Log.entryAdded', 'Runtime.exceptionThrown')]
    assert bad == []
