import io
import os
import pickle
from functools import partial

import pytest
import refusals
import tiny
import torch

from mipkd_arch.base.checkpoint import WeightsError, find_state_dict, read_checkpoint
from mipkd_arch.base.weights import load_weights
from mipkd_model.base.weights import plain_state_dict, save_checkpoint


class Payload:
    """Pickles into a call that makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder), )


def saved(path, content, **how):
    torch.save(content, path, **how)
    return path


refusal = partial(refusals.refusal, kind=WeightsError)


def same(network, weights):
    return all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())


# ---------------------------------------------------------------- finding the weights


@pytest.mark.parametrize('wrapper', ['params_ema', 'params', 'state_dict', 'state_dict_ema', None])
def test_weights_are_found_in_every_usual_wrapper(tmp_path, wrapper):
    network, source = tiny.edsr(), tiny.edsr().state_dict()
    path = saved(tmp_path / 'net.pth', {wrapper: source, 'epoch': 3} if wrapper else source)
    assert load_weights(network, path) == ([], [])
    assert same(network, source)


@pytest.mark.parametrize('zipped', [True, False])
def test_both_of_torchs_file_formats_are_read(tmp_path, zipped):
    network, source = tiny.edsr(), tiny.edsr().state_dict()
    load_weights(network, saved(tmp_path / 'net.pth', source, _use_new_zipfile_serialization=zipped))
    assert same(network, source)


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.'])
def test_prefixes_of_wrapped_networks_are_taken_off(tmp_path, prefix):
    network, source = tiny.edsr(), tiny.edsr().state_dict()
    load_weights(network, saved(tmp_path / 'net.pth', {'params': {prefix + k: v for k, v in source.items()}}))
    assert same(network, source)


def test_a_prefix_that_only_some_keys_have_is_part_of_their_names():
    weights = {'module.weight': torch.ones(1), 'bias': torch.ones(1)}
    assert list(find_state_dict(weights, 'net.pth')) == ['module.weight', 'bias']


@pytest.mark.parametrize('plain, averaged', [('params', 'params_ema'), ('state_dict', 'state_dict_ema'),
                                             ('model', 'model_ema')])
def test_the_averaged_weights_are_preferred(tmp_path, plain, averaged):
    network, ema = tiny.edsr(), tiny.edsr().state_dict()
    load_weights(network, saved(tmp_path / 'net.pth', {plain: tiny.edsr().state_dict(), averaged: ema}))
    assert same(network, ema)


def test_the_weights_of_torchs_averaged_model_are_read(tmp_path):
    network, averaged = tiny.edsr(), torch.optim.swa_utils.AveragedModel(tiny.edsr())
    load_weights(network, saved(tmp_path / 'net.pth', {'model_ema': averaged.state_dict()}))
    assert same(network, averaged.module.state_dict())


@pytest.mark.parametrize('prefix', ['model.', 'net.', 'model._orig_mod.'])
def test_a_trainers_prefix_is_taken_off_where_the_names_fit_without_it(tmp_path, prefix):
    network, source = tiny.edsr(), tiny.edsr().state_dict()
    path = saved(tmp_path / 'net.ckpt', {'state_dict': {f'{prefix}{key}': value for key, value in source.items()}})
    load_weights(network, path)
    assert same(network, source)
    owner = torch.nn.ModuleDict({'model': tiny.edsr()})
    load_weights(owner, saved(tmp_path / 'own.pth', owner.state_dict()))


@pytest.mark.parametrize('name', ['generator', 'g_ema', 'weights', 'model_state'])
def test_weights_under_another_name_are_pointed_out_and_load_by_param_key(tmp_path, name):
    network, source = tiny.edsr(), tiny.edsr().state_dict()
    path = saved(tmp_path / 'net.pth', {name: source, 'epoch': 3})
    assert f'name {name} by path.param_key_g (of a teacher: param_key_t)' in refusal(load_weights, network, path)
    load_weights(network, path, param_key=name)
    assert same(network, source)


def test_a_param_key_is_taken_at_its_word(tmp_path):
    network, plain = tiny.edsr(), tiny.edsr().state_dict()
    path = saved(tmp_path / 'net.pth', {'params': plain, 'params_ema': tiny.edsr().state_dict()})
    load_weights(network, path, param_key='params')
    assert same(network, plain)


@pytest.mark.parametrize('param_key', [None, 'params', 'generator_opt'])
def test_where_no_weights_are_the_keys_of_the_file_are_listed(tmp_path, param_key):
    path = saved(tmp_path / 'net.pth', {'generator': tiny.edsr().state_dict(), 'generator_opt': 5})
    message = refusal(load_weights, tiny.edsr(), path, param_key=param_key)
    assert str(path) in message and 'the file has generator, generator_opt' in message
    assert repr(param_key) in message if param_key else 'params_ema' in message


@pytest.mark.parametrize('content', [[1, 2], 5, torch.ones(3), {}], ids=str)
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = saved(tmp_path / 'net.pth', content)
    assert str(path) in refusal(load_weights, tiny.edsr(), path)


# ---------------------------------------------------------------- files that cannot be read


@pytest.mark.parametrize('writer', ['torch', 'torch, old format', 'pickle'])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, writer):
    folder, path = tmp_path / 'made_by_the_payload', tmp_path / 'net.pth'
    content = {'params': tiny.edsr().state_dict(), 'extra': Payload(folder)}
    if writer == 'pickle':
        path.write_bytes(pickle.dumps(Payload(folder), 2))
    else:
        saved(path, content, _use_new_zipfile_serialization=writer == 'torch')
    message = refusal(read_checkpoint, path)
    assert not folder.exists()
    assert str(path) in message and 'could run code' in message
    # Loading it carelessly does run it, or this test would show nothing.
    pickle.loads(path.read_bytes()) if writer == 'pickle' else torch.load(path, weights_only=False)
    assert folder.exists()


def test_a_refusal_names_what_was_found_and_does_not_advise_to_load_it_anyway(tmp_path):
    message = refusal(read_checkpoint, saved(tmp_path / 'net.pth', {'params': tiny.edsr()}))
    assert 'EDSR' in message and 'weights_only' not in message


@pytest.mark.parametrize('content', [b'<html>404: Not Found</html>', b'version https://git-lfs.github.com/spec/v1\n',
                                     b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR', b'hello'])
def test_a_file_that_is_no_checkpoint_at_all_is_called_so(tmp_path, content):
    path = tmp_path / 'net.pth'
    path.write_bytes(content)
    message = refusal(read_checkpoint, path)
    assert str(path) in message and 'checkpoint of torch' in message and 'code' not in message


@pytest.mark.parametrize('zipped', [True, False])
def test_a_file_that_was_cut_short_is_refused_wherever_it_was_cut(tmp_path, zipped):
    buffer, path = io.BytesIO(), tmp_path / 'net.pth'
    torch.save({'params': tiny.edsr(num_feat=4, num_block=1).state_dict()}, buffer,
               _use_new_zipfile_serialization=zipped)
    whole = buffer.getvalue()
    for length in [*range(0, 2000, 7), *range(2000, len(whole), 499)]:
        path.write_bytes(whole[:length])
        assert str(path) in refusal(read_checkpoint, path)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / 'net.pth'
    path.touch()
    assert str(path) in refusal(read_checkpoint, path)


@pytest.mark.parametrize('name', ['', 'absent.pth'], ids=['directory', 'missing'])
def test_a_path_that_is_no_file_is_refused(tmp_path, name):
    assert refusal(read_checkpoint, tmp_path / name) == f'{tmp_path / name}: no such checkpoint file'


# ---------------------------------------------------------------- weights that do not fit


def test_a_strict_misfit_names_the_first_key_and_both_shapes_and_changes_nothing(tmp_path):
    network = tiny.edsr(num_feat=8)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = saved(tmp_path / 'net.pth', {'params': tiny.edsr(num_feat=12).state_dict()})
    message = refusal(load_weights, network, path)
    assert str(path) in message and 'EDSR' in message
    assert 'first conv_first.weight: [12, 3, 3, 3] in the file, [8, 3, 3, 3] in the network' in message
    assert same(network, before)


@pytest.mark.parametrize('blocks, block, word', [(2, 2, 'missing in the file'), (4, 3, 'unknown to the network')])
def test_strictly_missing_and_unknown_keys_are_counted_and_change_nothing(tmp_path, blocks, block, word):
    network = tiny.edsr()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = saved(tmp_path / 'net.pth', {'params': tiny.edsr(num_block=blocks).state_dict()})
    message = refusal(load_weights, network, path)
    assert f'4 {word} (first body.{block}.conv1.weight)' in message
    assert same(network, before)


@pytest.mark.parametrize('strict', [True, False])
def test_weights_of_networks_without_a_common_name_are_refused_even_when_not_strict(tmp_path, strict):
    path = saved(tmp_path / 'net.pth', {'params': torch.nn.Linear(3, 3).state_dict()})
    message = refusal(load_weights, tiny.edsr(), path, strict=strict)
    assert 'has no weight of EDSR' in message and 'it has weight, bias' in message and 'conv_first.weight' in message


@pytest.mark.parametrize('source', [tiny.rcan, tiny.swinir])
def test_weights_of_another_architecture_are_refused(tmp_path, source):
    network = tiny.edsr()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = saved(tmp_path / 'net.pth', {'params': source().state_dict()})
    assert 'does not fit EDSR' in refusal(load_weights, network, path)
    assert same(network, before)


def test_a_x4_student_starts_from_a_x2_one_and_tells_what_is_left(tmp_path):
    network, source = tiny.edsr(4), tiny.edsr(2).state_dict()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    left, unused = load_weights(network, saved(tmp_path / 'net.pth', {'params': source}), strict=False)
    assert (left, unused) == (['upsample.2.weight', 'upsample.2.bias'], [])
    assert same(network, {**before, **source})


def test_weights_of_another_shape_are_left_out_when_not_strict(tmp_path):
    network, source = tiny.edsr(4), tiny.edsr(3).state_dict()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    left, unused = load_weights(network, saved(tmp_path / 'net.pth', source), strict=False)
    misfits = ['upsample.0.weight', 'upsample.0.bias']
    assert sorted(left) == sorted([*misfits, 'upsample.2.weight', 'upsample.2.bias'])
    assert unused == misfits
    assert torch.equal(network.body[0].conv1.weight, source['body.0.conv1.weight'])
    assert torch.equal(network.upsample[0].weight, before['upsample.0.weight'])


def test_unused_weights_of_the_file_are_told_when_not_strict(tmp_path):
    source = tiny.edsr(num_block=4).state_dict()
    left, unused = load_weights(tiny.edsr(), saved(tmp_path / 'net.pth', source), strict=False)
    assert left == [] and {key.rpartition('.conv')[0] for key in unused} == {'body.3'}


@pytest.mark.parametrize('img_size', [24, 4], ids=['larger', 'smaller'])
def test_swinir_weights_load_across_img_size(tmp_path, img_size):
    network, source = tiny.swinir(img_size=16).eval(), tiny.swinir(img_size=img_size).eval()
    masks = {key: value.clone() for key, value in network.state_dict().items() if key.endswith('attn_mask')}
    assert load_weights(network, saved(tmp_path / 'net.pth', {'params': source.state_dict()})) == ([], [])
    assert masks and all(torch.equal(network.state_dict()[key], mask) for key, mask in masks.items())
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), source.parameters(), strict=True))


def test_swinir_weights_of_another_window_are_refused(tmp_path):
    path = saved(tmp_path / 'net.pth', {'params': tiny.swinir(window_size=8).state_dict()})
    message = refusal(load_weights, tiny.swinir(window_size=4), path)
    assert 'relative_position_bias_table: [225, 2] in the file, [49, 2] in the network' in message


# ---------------------------------------------------------------- saving


def test_a_saved_checkpoint_loads_again(tmp_path):
    network, source = tiny.edsr(), tiny.edsr()
    save_checkpoint({'params': plain_state_dict(source)}, tmp_path / 'net.pth')
    load_weights(network, tmp_path / 'net.pth')
    assert same(network, source.state_dict())
    assert [file.name for file in tmp_path.iterdir()] == ['net.pth']


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / 'net.pth'
    save_checkpoint({'params': plain_state_dict(tiny.edsr())}, path)
    before = path.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint({'params': plain_state_dict(tiny.edsr()), 'extra': lambda: None}, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ['net.pth']


def test_weights_are_saved_in_plain_memory_layout():
    network = tiny.edsr().to(memory_format=torch.channels_last)
    weights = plain_state_dict(network)
    assert not network.conv_after_body.weight.is_contiguous()
    assert all(value.is_contiguous() and not value.requires_grad for value in weights.values())
    assert same(network, weights)


# ---------------------------------------------------------------- other trainers


@pytest.mark.parametrize('beside', [{'step': torch.tensor(5)}, {'step': torch.tensor(5), 'scaler': {'scale': 2.}},
                                    {'step': torch.ones(1), 'opt': {'state': {0: {'exp_avg': torch.ones(3)}}}}],
                         ids=['step', 'step, scaler', 'step, optimizer'])
@pytest.mark.parametrize('name', ['ema_model', 'netG', 'network', 'my_weights'])
def test_weights_beside_other_tensors_are_pointed_out_and_load_by_param_key(tmp_path, name, beside):
    network, source = tiny.edsr(), tiny.edsr().state_dict()
    path = saved(tmp_path / 'net.pth', {name: source, **beside})
    assert f'name {name} by path.param_key_g (of a teacher: param_key_t)' in refusal(load_weights, network, path)
    load_weights(network, path, param_key=name)
    assert same(network, source)


def test_all_weights_of_a_file_are_named(tmp_path):
    weights = tiny.edsr(num_feat=4, num_block=1).state_dict()
    content = {'other': weights, 'state': {'critic': weights}, 'net_g': weights, 'ema_model': weights,
               'step': torch.ones(1)}
    assert 'name other or state.critic or net_g or ema_model by path' in refusal(
        load_weights, tiny.edsr(), saved(tmp_path / 'net.pth', content))


def test_weights_that_are_wrapped_twice_are_found_or_named_with_both_keys(tmp_path):
    network, source = tiny.edsr(), tiny.edsr().state_dict()
    content = {'model': {'state_dict': source, 'epoch': 3}, 'step': torch.ones(1)}
    load_weights(network, saved(tmp_path / 'a.pth', content))
    assert same(network, source)
    network, path = tiny.edsr(), saved(tmp_path / 'b.pth', {'trainer': {'net_g': source}})
    assert 'name trainer.net_g by path.param_key_g' in refusal(load_weights, network, path)
    load_weights(network, path, param_key='trainer.net_g')
    assert same(network, source)


@pytest.mark.parametrize('wrapper', [None, 'model', 'ema_model'])
def test_an_average_beside_the_weights_and_counts_is_taken(tmp_path, wrapper):
    network, average = tiny.edsr(), tiny.edsr().state_dict()
    weights = {**{f'online_model.{key}': value for key, value in tiny.edsr().state_dict().items()},
               **{f'ema_model.{key}': value for key, value in average.items()},
               'step': torch.tensor(7), 'initted': torch.tensor(True)}
    load_weights(network, saved(tmp_path / 'net.pth', {wrapper: weights} if wrapper else weights), param_key=wrapper)
    assert same(network, average)


@pytest.mark.parametrize('prefix', ['ema_model.', 'net_g.', 'network.', 'ema_model.module.', 'netG._orig_mod.'])
def test_the_network_among_those_of_a_trainer_is_taken_by_its_prefix(tmp_path, prefix):
    network, source = tiny.edsr(), tiny.edsr().state_dict()
    weights = {**{f'{prefix}{key}': value for key, value in source.items()}, 'net_d.conv.weight': torch.ones(2),
               'perceptual.vgg.weight': torch.ones(3)}
    load_weights(network, saved(tmp_path / 'net.ckpt', {'state_dict': weights}))
    assert same(network, source)
