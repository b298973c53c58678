"""Networks, losses, data sets, models and metrics of a user's own, in a folder of the user's own."""
import argparse
import shlex
import sys
from textwrap import dedent

import pytest
import runs
import torch
import yaml
from processes import Processes, torchrun
from refusals import refusal

from mipkd_arch import has_view
from mipkd_arch.base.errors import UserError
from mipkd_arch.staged_views import VIEWS
from mipkd_model.cli import main
from mipkd_model.config import plugins
from mipkd_model.config.checks import check_networks, check_options, find_in_options
from mipkd_model.config.cli_arguments import add_plugins_option
from mipkd_model.launch import parse_options

from basicsr.data import build_dataset
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
)

PARTS = {
    'plain_arch.py': '''
        from torch import nn
        from basicsr.utils.registry import ARCH_REGISTRY
        from mipkd_arch import StagedView, register_view

        @ARCH_REGISTRY.register()
        class PlainNet(nn.Module):
            def __init__(self, width=8):
                super().__init__()
                self.first = nn.Conv2d(3, width, 3, padding=1)
                self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
                self.last = nn.Sequential(nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2))

            def forward(self, lq):
                feature = self.first(lq)
                for block in self.body:
                    feature = block(feature)
                return self.last(feature)

        @register_view(PlainNet)
        def plain_view(net):
            return StagedView(net, head=net.first, blocks={f'body.{i}': block for i, block in enumerate(net.body)},
                              tail=lambda deep, shallow: net.last(deep), num_feat=net.first.out_channels, upscale=2)
    ''',
    'edge_loss.py': '''
        from basicsr.utils.registry import LOSS_REGISTRY
        from mipkd_model.losses import DistillLoss
        from edges import edges

        @LOSS_REGISTRY.register()
        class EdgeLoss(DistillLoss):
            needs_features = False

            def __init__(self, *, loss_weight=1.0):
                super().__init__()
                self.loss_weight = loss_weight

            def forward(self, step):
                return {'l_edge': self.loss_weight * (edges(step.output) - edges(step.target)).abs().mean()}
    ''',
    'edges.py': '''
        def edges(image):
            return image.diff(dim=-1)
    ''',
    'made_dataset.py': '''
        import torch
        from basicsr.utils.registry import DATASET_REGISTRY

        @DATASET_REGISTRY.register()
        class MadeDataset(torch.utils.data.Dataset):
            def __init__(self, opt):
                self.opt = opt

            def __len__(self):
                return 4

            def __getitem__(self, index):
                side = self.opt['gt_size']
                return {'lq': torch.rand(3, side // 2, side // 2), 'gt': torch.rand(3, side, side),
                        'lq_path': f'{index}.png', 'gt_path': f'{index}.png'}
    ''',
    'quiet_model.py': '''
        from basicsr.utils.registry import MODEL_REGISTRY
        from mipkd_model import MiPKDModel

        @MODEL_REGISTRY.register()
        class QuietModel(MiPKDModel):
            pass
    ''',
    'mean_metric.py': '''
        from basicsr.utils.registry import METRIC_REGISTRY

        @METRIC_REGISTRY.register()
        def calculate_mean_difference(img, img2, crop_border, **kwargs):
            return abs(float(img.mean()) - float(img2.mean()))
    ''',
}
NAMES = (('PlainNet', ARCH_REGISTRY), ('EdgeLoss', LOSS_REGISTRY), ('MadeDataset', DATASET_REGISTRY),
         ('QuietModel', MODEL_REGISTRY), ('calculate_mean_difference', METRIC_REGISTRY))


def write(folder, files):
    """Write files, given by name, into a folder, which is made. Returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(dedent(text))
    return folder


@pytest.fixture
def parts(tmp_path):
    return write(tmp_path / 'my parts', PARTS)


def options(folder, parts, **more):
    """Options of a run in which everything that can be is of the user's own."""
    opt = runs.options(folder, losses=['pixel_opt'], edge_opt={'type': 'EdgeLoss'}, cuts_g=1, cuts_t=1)
    opt.update(plugins=[str(parts)], network_g={'type': 'PlainNet', 'width': 8}, **more)
    opt['val']['metrics']['mean'] = {'type': 'calculate_mean_difference', 'crop_border': 2}
    return opt


def registered():
    """What is registered, and where modules are looked for."""
    return [dict(registry._obj_map) for _, registry in NAMES], dict(VIEWS), list(sys.path)


def wrong(*folders):
    """What is said of folders; nothing of them may be in use then."""
    before = registered()
    lines = plugins.find_in_plugins([str(folder) for folder in folders]).lines
    assert all(line.isprintable() for line in lines)
    assert registered() == before
    return lines


def test_every_kind_of_part_is_registered_while_its_folder_is_in_use(parts):
    before = registered()
    for _ in range(2):  # the second time they are imported anew
        plugins.use([str(parts)])
        assert all(name in registry for name, registry in NAMES)
        assert has_view(ARCH_REGISTRY.get('PlainNet')())
        plugins.use([])
        assert registered() == before


def test_options_that_name_a_folder_pass_the_checks_and_those_that_do_not_know_nothing_of_it(tmp_path, parts):
    opt = options(tmp_path, parts)
    check_options(opt, is_train=True)
    check_networks({**opt, 'auto_resume': False}, is_train=True)
    del opt['plugins']
    lines = find_in_options(opt, is_train=True).lines
    assert [line.split(': ')[0] for line in lines] == ['network_g.type', 'train.edge_opt.type', 'val.metrics.mean.type']
    assert lines[0].endswith('and what the folders of the option plugins have')


@pytest.mark.parametrize('change, message', [
    (lambda o: o['network_g'].update(type='PlanNet'), "network_g.type: no 'PlanNet' is registered (did you mean 'Pl"),
    (lambda o: o['network_g'].update(widht=8), "network_g.widht: PlainNet has no such option (did you mean 'width'?)"),
    (lambda o: o['network_g'].update(width='8'), "network_g.width: '8' is not a number above 0 and of at most 65536; "),
])
def test_own_parts_are_among_what_is_known(tmp_path, parts, change, message):
    opt = options(tmp_path, parts)
    change(opt)
    line, = find_in_options(opt, is_train=True).lines
    assert line.startswith(message)


def test_a_folder_may_be_named_alone_and_from_the_home_folder(tmp_path, parts, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    for value in ('~/my parts', ['~/my parts', str(parts)]):
        assert not plugins.find_in_plugins(value).lines and 'PlainNet' in ARCH_REGISTRY


@pytest.mark.parametrize('value, message', [
    (3, 'plugins: 3 is not a folder that can be read ('),
    (['nowhere'], "plugins[0]: 'nowhere' is not a folder that can be read ("),
    (['nowhere', 7], 'plugins[1]: 7 is not a folder'),
    ('a\0b', "plugins: 'a\\x00b' is not a folder"),
    ('x' * 5000, "plugins: 'xxx"),
    ('~nobody-of-that-name/x', "plugins: '~nobody-of-that-name/x' is not a folder"),
])
def test_what_is_no_folder_is_one_line(value, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = plugins.find_in_plugins(value).lines
    assert len(lines) == (len(value) if isinstance(value, list) else 1)
    assert lines[-1].startswith(message) and lines[-1].isprintable()


def test_a_folder_that_may_not_be_read_is_one_line(parts, monkeypatch):
    def denied(folder):
        raise PermissionError(13, 'Permission denied', str(folder))

    monkeypatch.setattr(type(parts), 'iterdir', denied)
    assert 'is not a folder that can be read ([Errno 13] Permission denied' in wrong(parts)[0]


def test_a_file_and_a_folder_without_parts_are_one_line_each(tmp_path):
    folder = write(tmp_path / 'plain', {'plain-arch.py': '', 'net.py': ''})
    assert 'Not a directory' in wrong(folder / 'net.py')[0]
    line, = wrong(folder)
    assert 'has no file *_arch.py or *_loss.py' in line and 'these endings are imported' in line


@pytest.mark.parametrize('text, message', [
    ('import nowhere_at_all\n', "bad_arch.py, line 1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ('x = 1\ndef f(:\n', '(bad_arch.py, line 2)'),
    ('\n\n1 / 0\n', 'bad_arch.py, line 3: ZeroDivisionError: division by zero'),
    ('import sys\nsys.exit("stop")\n', 'bad_arch.py, line 2: SystemExit: stop'),
    ('from .other import x\n', 'bad_arch.py, line 1: ImportError: '),
    ('import helper\n', 'helper.py, line 2: NameError: '),
    ('from basicsr.utils.registry import ARCH_REGISTRY\n@ARCH_REGISTRY.register()\nclass EDSR:\n    pass\n',
     "line 2: AssertionError: An object named 'EDSR' was already "),
    ('from mipkd_arch import register_view\nfrom basicsr.archs.edsr_arch import EDSR\n\n'
     '@register_view(EDSR)\ndef view(net):\n    pass\n', 'line 4: StagedViewError: EDSR already'),
])
def test_a_file_that_cannot_be_imported_is_one_line_with_its_line(tmp_path, text, message):
    folder = write(tmp_path / 'own', {'bad_arch.py': text, 'helper.py': '\nundefined\n', 'good_loss.py': ''})
    line, = wrong(folder)
    if sys.version_info < (3, 11) and '\n@' in text:  # which blames what is decorated, not the decorator
        number = int(message[5])
        message = message.replace(f'line {number}:', f'line {number + 1}:')
    assert line.startswith(f'plugins: {folder / "bad_arch.py"}: ') and message in line


def test_every_file_that_is_wrong_has_a_line(tmp_path):
    folder = write(tmp_path / 'own', {
        'a_arch.py': '1 / 0', 'b_loss.py': '1 / 0', 'c_metric.py': '', '._d_arch.py': '\0'})
    assert [line.split(': ')[1].rpartition('/')[2] for line in wrong(folder)] == ['a_arch.py', 'b_loss.py']


def test_two_files_of_one_name_and_one_of_an_installed_package_are_refused(tmp_path):
    folders = [write(tmp_path / name, {'net_arch.py': ''}) for name in 'ab']
    assert wrong(*folders) == [f'plugins: {folders[1]}/net_arch.py: the name is taken by {folders[0]}/net_arch.py; '
                               'rename one of them']
    line, = wrong(write(tmp_path / 'c', {'mipkd_model.py': ''}))
    assert 'the name is taken by' in line


def test_what_others_register_meanwhile_stays(parts):
    class Late:
        pass

    plugins.use([str(parts)])
    ARCH_REGISTRY.register(Late)
    plugins.use([])
    assert ARCH_REGISTRY._obj_map.pop('Late') is Late


def test_two_option_files_may_have_files_and_networks_of_one_name(tmp_path, capsys):
    files = []
    for width, name in ((4, 'a'), (6, 'b')):
        text = PARTS['plain_arch.py'].replace('width=8', f'size_{name}={width}').replace('width', f'size_{name}')
        folder = write(tmp_path / name, {'plain_arch.py': text})
        opt = runs.options(tmp_path, losses=['pixel_opt'])
        opt.update(plugins=str(folder), network_g={'type': 'PlainNet', f'size_{name}': width})
        files.append(folder / 'options.yml')
        files[-1].write_text(yaml.safe_dump(opt))
    assert main(['check', *map(str, files)]) == 0, capsys.readouterr().out


def test_files_of_a_package_may_import_each_other_by_dots(tmp_path):
    package = write(tmp_path / 'mine/archs', {'__init__.py': '', 'plain_arch.py': PARTS['plain_arch.py'],
                                              'wide_arch.py': '''
        from basicsr.utils.registry import ARCH_REGISTRY
        from .plain_arch import PlainNet

        @ARCH_REGISTRY.register()
        class WideNet(PlainNet):
            pass
    '''})
    write(tmp_path / 'mine', {'__init__.py': ''})
    for _ in range(2):
        plugins.use([str(package)])
        assert ARCH_REGISTRY.get('WideNet').__module__ == 'mine.archs.wide_arch'
        plugins.use([])


def test_workers_that_are_started_anew_find_a_users_data_set(parts):
    plugins.use([str(parts)])
    data = build_dataset({'name': 'made', 'type': 'MadeDataset', 'gt_size': 8})
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context='spawn')
    assert [tuple(batch['gt'].shape) for batch in loader] == [(2, 3, 8, 8)] * 2


def test_trainings_and_tests_use_the_folder_of_the_option_file(tmp_path, parts):
    opt = options(tmp_path, parts)
    opt['plugins'] = 'my parts'  # relative to where the command is started
    opt['datasets']['train'].update(type='MadeDataset')
    del opt['datasets']['train']['dataroot_gt'], opt['datasets']['train']['dataroot_lq']
    file = runs.option_file(tmp_path, opt)
    several = torchrun('-m', 'mipkd_model.cli', 'train', '-opt', file)
    Processes(tmp_path, [several], [{'PYTHONPATH': str(runs.ROOT)}]).must_end_well()
    run = tmp_path / 'experiments/tiny'
    assert 'l_edge' in next(run.glob('train_*.log')).read_text()
    assert 'plugins: my parts' in (run / 'options.yml').read_text()
    test = {key: opt[key] for key in ('model_type', 'scale', 'num_gpu', 'network_g', 'val')}
    test.update(name='of_the_run', datasets={'test_1': opt['datasets']['val']},
                path={'pretrain_network_g': str(run / 'models/net_g_latest.pth')})
    file = runs.option_file(tmp_path, test)
    alone = [sys.executable, '-m', 'mipkd_model.cli', 'test', '-opt', file, '--plugins', 'my parts']
    Processes(tmp_path, [alone], [{'PYTHONPATH': str(runs.ROOT)}]).must_end_well()
    record, = (tmp_path / 'results/of_the_run/records').iterdir()
    record = yaml.safe_load(record.read_text())
    assert 'mean' in record['mean']
    assert record['command'] == shlex.join(
        ['mipkd', 'test', '-opt', str(file), '--force_yml', 'plugins=["my parts"]'])


def test_a_launcher_refuses_a_wrong_folder_before_anything_is_made(tmp_path, parts, monkeypatch):
    (parts / 'edges.py').write_text('1 / 0')
    file = runs.option_file(tmp_path, options(tmp_path, parts))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
    assert refusal(parse_options, str(tmp_path), kind=UserError).startswith(
        f'plugins: {parts}/edge_loss.py: cannot be imported (edges.py, line 1: ZeroDivisionError: ')
    assert not (tmp_path / 'experiments').exists()


def test_folders_of_the_command_line_come_to_those_of_the_option_file():
    parser = argparse.ArgumentParser()
    add_plugins_option(parser)
    given = parser.parse_args(['--plugins', 'a b', 'c', '--plugins', 'd']).plugins
    for before in (None, 'own', ['own']):
        entry, = plugins.entries({'plugins': before}, given)
        assert yaml.safe_load(entry.removeprefix('plugins=')) == [*(['own'] if before else []), 'a b', 'c', 'd']
    assert plugins.entries({'plugins': 'own'}, []) == []


def test_networks_of_ones_own_are_profiled_and_checked(tmp_path, parts, capsys):
    assert main(['profile', '{type: PlainNet, width: 8}', '--no-time', '--plugins', str(parts)]) == 0
    file = runs.option_file(tmp_path, options(tmp_path, parts))
    assert main(['profile', str(file), '--no-time']) == 0
    assert capsys.readouterr().out.count('PlainNet') == 2
    assert main(['profile', '{type: PlainNet}', '--no-time']) == 1
    assert main(['profile', '{type: PlainNet}', '--plugins', 'nowhere']) == 1
    assert "error: --plugins[0]: 'nowhere' is not a folder" in capsys.readouterr().err
    assert main(['check', str(file), '--plugins', str(parts)]) == 0
    assert refusal(plugins.use, ['nowhere'], kind=UserError).startswith("--plugins[0]: 'nowhere'")
