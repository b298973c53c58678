"""Putting data in place from the command line, against a server on this machine."""
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
import runs
import tiny
from local_server import serving

from mipkd_model.cli import main
from mipkd_model.data.bicubic import shrink
from mipkd_model.data.images import read_image
from mipkd_model.data.raw_lmdb import RawLmdb

COMMAND = runs.ROOT / 'datasets/prepare.py'
spec = importlib.util.spec_from_file_location('prepare', COMMAND)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path / 'served') as server:
        yield server


@pytest.fixture
def prepare(monkeypatch, capsys):
    """Calls the command; gives what it prints."""
    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['prepare.py', *map(str, arguments)])
        assert module.main() == 0, capsys.readouterr().err
        return capsys.readouterr().out
    return call


@pytest.fixture
def refused(monkeypatch, capsys):
    """Calls the command, which must fail with status 1 and one line; gives the line."""
    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['prepare.py', *map(str, arguments)])
        assert module.main() == 1
        return error_line(capsys.readouterr().err)
    return call


def error_line(stderr):
    """The line of the error, which comes last, behind the progress bars."""
    *bars, line = stderr.splitlines()
    assert line.startswith('error: ') and not any('rror' in bar for bar in bars), stderr
    return line


def content(folder):
    """Bytes and times of all files below a folder."""
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.rglob('*') if file.is_file()}


def halved(files, folder, scale, suffix=''):
    """Write every ``scale``-th pixel of images, which is not what bicubic gives."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        cv2.imwrite(str(folder / f'{file.stem}{suffix}.png'), cv2.imread(str(file))[::scale, ::scale])
    return folder


@pytest.fixture
def div2k(tmp_path):
    """A folder in DIV2K's layout, HR with LR of x2 and x4."""
    files = runs.photographs(tmp_path / 'copy/DIV2K_train_HR', count=2, height=32, width=48)
    for scale in (2, 4):
        halved(files, tmp_path / f'copy/DIV2K_train_LR_bicubic/X{scale}', scale, f'x{scale}')
    return tmp_path / 'copy'


@pytest.fixture
def zips(server, div2k):
    """The same behind the server, as DIV2K's zip files."""
    for folder in ('DIV2K_train_HR', 'DIV2K_train_LR_bicubic/X2', 'DIV2K_train_LR_bicubic/X4'):
        with zipfile.ZipFile(server.root / f'{folder.replace("/", "_")}.zip', 'w') as file:
            for image in sorted((div2k / folder).iterdir()):
                file.write(image, image.relative_to(div2k))
    return server


def check_div2k(out, copy):
    assert sorted(path.name for path in out.glob('*.lmdb*')) == ['train_HR.lmdb', 'train_LRx2.lmdb', 'train_LRx4.lmdb']
    for name, folder, suffix in (('HR', 'DIV2K_train_HR', ''), ('LRx2', 'DIV2K_train_LR_bicubic/X2', 'x2'),
                                 ('LRx4', 'DIV2K_train_LR_bicubic/X4', 'x4')):
        packed = RawLmdb(out / f'train_{name}.lmdb')
        assert list(packed.shapes) == ['0000', '0001']
        for image in packed.shapes:
            assert np.array_equal(packed.read(image), read_image(copy / folder / f'{image}{suffix}.png'))


def test_one_command_fetches_and_packs_div2k(zips, div2k, prepare, tmp_path):
    call = ('div2k', '--scale', 2, 4, '--out', tmp_path / 'DIV2K', '--address', zips.url)
    assert '2 images; train_HR.lmdb, train_LRx2.lmdb, train_LRx4.lmdb written' in prepare(*call)
    check_div2k(tmp_path / 'DIV2K', div2k)
    assert len(zips.ranges) == 3
    assert 'all there already' in prepare(*call)
    assert len(zips.ranges) == 3


def test_the_command_goes_on_after_an_interrupted_download(zips, div2k, prepare, refused, tmp_path):
    call = ('div2k', '--scale', 2, 4, '--out', tmp_path / 'DIV2K', '--address', zips.url)
    zips.breaks_after = 1000
    assert f'{zips.url}/DIV2K_train_HR.zip: only 1000 of ' in refused(*call)
    assert not list((tmp_path / 'DIV2K').glob('*.lmdb'))
    zips.breaks_after = None
    prepare(*call)
    assert zips.ranges[:2] == [None, 'bytes=1000-']
    check_div2k(tmp_path / 'DIV2K', div2k)


def test_an_address_without_the_files_is_one_line(server, refused, tmp_path):
    line = refused('div2k', '--scale', 4, '--out', tmp_path / 'DIV2K', '--address', server.url)
    assert f'{server.url}/DIV2K_train_HR.zip: the server answers 404' in line


def test_div2k_is_packed_from_a_copy(div2k, prepare, tmp_path):
    before = content(div2k)
    prepare('div2k', '--scale', 2, 4, '--out', tmp_path / 'DIV2K', '--from', div2k)
    check_div2k(tmp_path / 'DIV2K', div2k)
    assert content(div2k) == before


def test_a_copy_without_lr_images_has_them_made(div2k, prepare, tmp_path):
    shutil.rmtree(div2k / 'DIV2K_train_LR_bicubic')
    said = prepare('div2k', '--scale', 3, '--out', tmp_path / 'DIV2K', '--from', div2k)
    assert f'{div2k}: no LR x3 images, they are made' in said
    gt, lq = RawLmdb(tmp_path / 'DIV2K/train_HR.lmdb'), RawLmdb(tmp_path / 'DIV2K/train_LRx3.lmdb')
    for name in gt.shapes:
        assert np.array_equal(lq.read(name), shrink(gt.read(name), 3))


def archive(file, images, *more):
    """A tar file with sets of HR images, and other members."""
    with tarfile.open(file, 'w') as out:
        for name in ('benchmark/Set5', 'benchmark/B100'):
            out.add(images[0], f'{name}/HR/a.png')
        for name in more:
            out.add(images[0], name)


@pytest.mark.parametrize('more', [[], ['._benchmark']], ids=['alone', 'beside another file'])
def test_one_command_fetches_the_benchmark_sets(server, prepare, tmp_path, more):
    archive(server.root / 'benchmark.tar', runs.photographs(tmp_path / 'hr', count=1), *more)
    for _ in range(2):
        said = prepare('benchmark', '--out', tmp_path / 'benchmark', '--address', f'{server.url}/benchmark.tar')
        assert said == f'{tmp_path / "benchmark"}: BSD100, Set5\n'
    assert (tmp_path / 'benchmark/BSD100/HR/a.png').exists() and (tmp_path / 'benchmark/Set5/HR/a.png').exists()
    assert len(server.ranges) == 1


def test_an_archive_without_the_folder_benchmark_is_one_line(server, refused, tmp_path):
    with tarfile.open(server.root / 'benchmark.tar', 'w') as out:
        out.add(runs.photographs(tmp_path / 'hr', count=1)[0], 'Set5/HR/a.png')
    line = refused('benchmark', '--out', tmp_path / 'benchmark', '--address', f'{server.url}/benchmark.tar')
    assert 'benchmark.tar: has no folder benchmark in it' in line and not (tmp_path / 'benchmark').exists()


def test_all_names_the_pack_command_for_data_of_no_public_set(refused, tmp_path):
    opt = runs.options(tmp_path)
    opt['datasets']['train']['dataroot_gt'] = str(tmp_path / 'absent_HR.lmdb')
    line = refused('all', '-opt', runs.option_file(tmp_path, opt))
    assert str(tmp_path / 'absent_HR.lmdb') in line and 'mipkd data pack' in line


def test_all_is_content_where_everything_is_there(prepare, tmp_path):
    file = runs.option_file(tmp_path, runs.options(tmp_path))
    assert prepare('all', '-opt', file).startswith(f'{file}: all data and weights are there.')


def test_all_is_content_with_images_without_gt_and_paths_below_home(prepare, tmp_path, monkeypatch):
    opt = runs.options(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    opt['datasets'] = {'test': {'name': 'own', 'type': 'SingleImageDataset', 'dataroot_lq': '~/hr',
                                'io_backend': {'type': 'disk'}}}
    opt = {key: value for key, value in opt.items() if key not in ('train', 'network_t', 'logger')}
    opt.update(path={}, val={})
    assert 'all data and weights are there' in prepare('all', '-opt', runs.option_file(tmp_path, opt))


def test_all_packs_what_the_option_file_needs(div2k, prepare, tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'ROOT', tmp_path)
    opt = runs.options(tmp_path)
    opt['datasets']['train'].update(dataroot_gt='datasets/DIV2K/train_HR.lmdb',
                                    dataroot_lq='datasets/DIV2K/train_LRx2.lmdb')
    prepare('all', '-opt', runs.option_file(tmp_path, opt), '--from', div2k)
    assert sorted(path.name for path in (tmp_path / 'datasets/DIV2K').iterdir()) == ['train_HR.lmdb', 'train_LRx2.lmdb']


@pytest.mark.parametrize('path', ['datasets', 'scale', 'path', 'datasets.val.dataroot_lq'])
def test_all_on_an_option_file_that_lacks_something_is_one_line(div2k, refused, tmp_path, monkeypatch, path):
    monkeypatch.setattr(module, 'ROOT', tmp_path)
    opt = runs.options(tmp_path)
    opt['datasets']['train']['dataroot_gt'] = 'datasets/DIV2K/train_HR.lmdb'
    *blocks, key = path.split('.')
    block = opt
    for name in blocks:
        block = block[name]
    del block[key]
    assert path in refused('all', '-opt', runs.option_file(tmp_path, opt), '--from', div2k)


def test_folders_are_packed_for_several_scales_at_once(prepare, tmp_path):
    files = runs.photographs(tmp_path / 'a', count=2)
    (tmp_path / 'b').mkdir()
    cv2.imwrite(str(tmp_path / 'b/gray.png'), tiny.noise(30, 42)[..., 0])
    cv2.imwrite(str(tmp_path / 'b/small.png'), tiny.noise(42, 19))
    out = tmp_path / 'out'
    call = ('pack', '--hr', tmp_path / 'a', tmp_path / 'b', '--scale', 2, 4, '--min-side', 20, '--out', out)
    said = prepare(*call)
    assert said == (f'{out}: 3 images; train_HR.lmdb, train_LRx2.lmdb, train_LRx4.lmdb written; 1 with a side '
                    'below 20 pixels left out\n')
    gt = RawLmdb(out / 'train_HR.lmdb')
    assert np.array_equal(gt.read('0001'), read_image(files[1])) and set(gt.shapes) == {'0000', '0001', 'gray'}
    for scale in (2, 4):
        lq = RawLmdb(out / f'train_LRx{scale}.lmdb')
        assert all(np.array_equal(lq.read(name), shrink(gt.read(name), scale)) for name in gt.shapes)
    assert 'all there already' in prepare(*call)


def test_lr_folders_go_with_one_scale(refused, tmp_path):
    assert refused('pack', '--hr', tmp_path, '--lr', tmp_path, '--scale', 2, 4, '--out', tmp_path / 'out') == (
        'error: --lr: goes with one --scale at a time; call once for each')


def test_images_are_held_out_in_another_folder(prepare, refused, tmp_path):
    runs.photographs(tmp_path / 'HR', 3)
    call = 'pack', '--hr', tmp_path / 'HR', '--scale', 2, '--out', tmp_path / 'out'
    assert refused(*call, '--hold-out', tmp_path / 'HR/../out') == (
        f'error: --hold-out: {tmp_path}/HR/../out is the folder of --out; name another')
    assert refused(*call, '--every', 2) == (
        'error: --every: goes with --hold-out, the folder for the images that are held out')
    assert prepare(*call, '--hold-out', tmp_path / 'held', '--every', 2).endswith(
        f'; 1 held out in {tmp_path}/held\n')
    assert len(RawLmdb(tmp_path / 'out/train_HR.lmdb').shapes) == 2


def rewritten(file, image):
    cv2.imwrite(str(file), image)
    return file


def cut(file):
    file.write_bytes(file.read_bytes()[:-200])
    return file


def removed(file):
    file.unlink()
    return file.parent


FLAWS = {
    'an LR image is missing': lambda hr, lr: removed(lr / '0002.png'),
    'an HR image is missing': lambda hr, lr: removed(hr / '0002.png'),
    'an LR image has another name': lambda hr, lr: (lr / '0001.png').rename(lr / 'other.png').parent,
    'an LR image has another size': lambda hr, lr: rewritten(lr / '0001.png', tiny.noise(20, 25)).parent,
    'an HR image is cut short': lambda hr, lr: cut(hr / '0001.png'),
    'an LR image is cut short': lambda hr, lr: cut(lr / '0001.png'),
    'an HR image has 16 bits': lambda hr, lr: rewritten(hr / '0001.png', tiny.noise(40, 52).astype(np.uint16) * 257),
    'an HR image is transparent': lambda hr, lr: rewritten(hr / '0001.png', np.full((40, 52, 4), 100, np.uint8)),
    'there is no HR folder': lambda hr, lr: hr.rename(hr.with_name('moved')) and hr,
    'there is no LR folder': lambda hr, lr: lr.rename(lr.with_name('moved')) and lr,
}


@pytest.mark.parametrize('flaw', FLAWS.values(), ids=FLAWS)
def test_images_that_cannot_be_packed_are_named_in_one_line(refused, tmp_path, flaw):
    hr = tmp_path / 'images/hr'
    lr = halved(runs.photographs(hr, count=3), tmp_path / 'images/lr', 2)
    named = flaw(hr, lr)
    before = content(tmp_path / 'images')
    line = refused('pack', '--hr', hr, '--lr', lr, '--scale', 2, '--out', tmp_path / 'out')
    assert str(named) in line
    left = {path.name for path in tmp_path.glob('out/*')}
    assert left <= {'train_HR.lmdb'} and (not left or 'lr' in named.parts), 'only what was complete may stay'
    assert content(tmp_path / 'images') == before


def test_all_flaws_are_printed_a_line_for_each_and_summed_up(tmp_path, monkeypatch, capsys):
    hr = tmp_path / 'hr'
    files = runs.photographs(hr, count=4)
    cut(files[1])
    rewritten(files[3], np.full((40, 52, 4), 100, np.uint8))
    monkeypatch.setattr(sys, 'argv', ['prepare.py', *map(str, ('pack', '--hr', hr, '--scale', 2, '--out',
                                                               tmp_path / 'out'))])
    assert module.main() == 1
    *lines, last = capsys.readouterr().err.splitlines()
    assert f'{files[1]}: is cut short' in lines[-2] and lines[-1].startswith(f'{files[3]}: is transparent in places')
    assert last.startswith('error: nothing was written, for 2 things are wrong with these images')
    assert not (tmp_path / 'out').exists()


def test_all_folders_that_are_not_there_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['prepare.py', 'pack', '--hr', 'one', 'two', '--scale', '2', '--out', 'out'])
    assert module.main() == 1
    assert capsys.readouterr().err.splitlines()[:2] == [f'{name}: no such folder of images' for name in ('one', 'two')]


def test_what_is_left_out_of_a_folder_is_said(prepare, tmp_path):
    runs.photographs(tmp_path / 'hr', count=2)
    (tmp_path / 'hr/a.jfif').touch()
    runs.photographs(tmp_path / 'hr/more', count=1)
    said = prepare('pack', '--hr', tmp_path / 'hr', '--scale', 2, '--out', tmp_path / 'out')
    assert said.splitlines()[0] == f'{tmp_path / "hr"}: left out: 2 other files or folders, such as a.jfif'


@pytest.mark.parametrize('inside', ['.', 'docs'])
def test_data_go_into_the_repository_that_the_command_is_called_in_and_else_into_the_current_folder(
        tmp_path, monkeypatch, div2k, inside):
    checkout = tmp_path / 'checkout'
    for folder in ('datasets', 'mipkd_model', 'docs'):
        (checkout / folder).mkdir(parents=True)
    (checkout / 'datasets/prepare.py').touch()
    (tmp_path / 'elsewhere').mkdir()
    for folder, out in ((checkout / inside, checkout), (tmp_path / 'elsewhere', tmp_path / 'elsewhere')):
        monkeypatch.chdir(folder)
        assert main(['data', 'div2k', '--scale', '2', '--from', str(div2k)]) == 0
        assert (out / 'datasets/DIV2K/train_LRx2.lmdb/data.mdb').exists()


def test_the_command_and_the_scripts_do_the_same(tmp_path, capsys, prepare):
    runs.photographs(tmp_path / 'hr', count=2)
    call = ['--hr', str(tmp_path / 'hr'), '--scale', '2', '--out', str(tmp_path / 'out')]
    assert main(['data', 'pack', *call]) == 0
    assert 'all there already' in prepare('pack', *call)
    capsys.readouterr()
    assert main(['data', 'verify', str(tmp_path / 'out')]) == 0
    assert "LR of 2 images is MATLAB's bicubic" in capsys.readouterr().out


@pytest.mark.parametrize('script', ['prepare', 'verify'])
def test_the_scripts_run_where_nothing_but_the_repository_is_there(tmp_path, script):
    # Isolated: neither the folder it is called in nor PYTHONPATH is looked into.
    done = subprocess.run([sys.executable, '-I', runs.ROOT / f'datasets/{script}.py', '--help'], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0 and 'mipkd data' in done.stdout, done.stderr


def test_a_target_below_a_file_is_one_line(refused, tmp_path):
    runs.photographs(tmp_path / 'hr', count=1)
    (tmp_path / 'file').write_text('kept')
    line = refused('pack', '--hr', tmp_path / 'hr', '--scale', 2, '--out', tmp_path / 'file/out')
    assert str(tmp_path / 'file/out') in line and (tmp_path / 'file').read_text() == 'kept'


HELD = """
import runpy, signal, sys, time
from tqdm import tqdm
update, arrived = tqdm.update, []
def held(bar, n=1):  # waits for the signal, so that it cannot come too late
    update(bar, n)
    if bar.n < 3 or arrived or bar.desc.startswith('check'):  # while it writes, not before
        return
    handler = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *what: (arrived.append(True), handler(*what)))
    print('held', file=sys.stderr, flush=True)
    while not arrived:
        time.sleep(0.01)
tqdm.update = held
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def test_an_interrupted_packing_is_one_line_and_goes_on(prepare, tmp_path):
    first = tmp_path / 'hr/0000.png'
    first.parent.mkdir()
    cv2.imwrite(str(first), tiny.noise(400, 400))
    for i in range(1, 20):
        os.link(first, first.with_name(f'{i:04d}.png'))
    call = ('pack', '--hr', first.parent, '--scale', 4, '--out', tmp_path / 'out')
    with subprocess.Popen([sys.executable, '-c', HELD, str(COMMAND), *map(str, call)], stderr=subprocess.PIPE,
                          # A shell may have told its children to ignore it.
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
        try:
            stderr = b''
            while b'held\n' not in stderr and (more := process.stderr.read1()):
                stderr += more
            process.send_signal(signal.SIGINT)
            stderr += process.communicate(timeout=300)[1]
        finally:
            process.kill()
    assert process.returncode == 1
    assert 'interrupted' in error_line(stderr.decode())
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['train_HR.lmdb.part']
    prepare(*call)
    assert len(RawLmdb(tmp_path / 'out/train_LRx4.lmdb').shapes) == 20
