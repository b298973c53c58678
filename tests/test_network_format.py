"""The memory and number format of both networks: chosen by time, the same after a resume."""
import pytest
import runs
import torch

from mipkd_model.config.checks import check_options
from mipkd_model.training import network_format, precision
from mipkd_model.training.network_format import NetworkFormat

TIMED = {'channels_last': 'timed', 'precision': 'timed'}


@pytest.fixture(params=[True, False], ids=['with bf16', 'without bf16'])
def bf16(request, monkeypatch):
    """Whether the hardware has bfloat16."""
    for module in (network_format, precision):
        monkeypatch.setattr(module, 'has_fast_bf16', lambda _: request.param)
    return request.param


@pytest.fixture
def timed(monkeypatch):
    """What has been timed; the fastest is all that is new for the student, and nothing of it for the teacher."""
    calls = []

    def times(network, _, candidates, *__):
        calls.append((type(network).__name__, candidates))
        best = any(p.requires_grad for p in network.parameters())
        return {found: 1. + (found.channels_last is not best) + (found.bf16 is not best) for found in candidates}

    monkeypatch.setattr(network_format, '_times', times)
    return calls


def is_channels_last(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def test_each_network_has_its_faster_formats(tmp_path, timed, bf16):
    opt = runs.options(tmp_path, **TIMED)
    check_options(opt, is_train=True)
    model = runs.model(opt)
    assert [len(candidates) for _, candidates in timed] == [4 if bf16 else 2] * 2
    assert model.opt['formats'] == {'g': {'channels_last': True, 'bf16': bf16},
                                    't': {'channels_last': False, 'bf16': False}}
    assert is_channels_last(model.net_g.body[0].conv1.weight) and not is_channels_last(model.net_t.body[0].conv1.weight)
    model.feed_data(runs.batch())
    model.optimize_parameters(1)
    assert all(value == value for value in model.get_current_log().values())
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16, enabled=bf16):
        passes = model.distiller.student_forward(model.lq), model.distiller.teacher_forward(model.lq)
    assert [is_channels_last(one.features[1]) for one in passes] == [True, False]
    plain = model.distiller.student_forward(model.lq), model.distiller.teacher_forward(model.lq)
    same = [torch.equal(a.features[-1], b.features[-1]) for a, b in zip(passes, plain, strict=True)]
    assert same == [not bf16, True]  # the teacher runs in float32 whatever the step does


def test_a_resumed_run_has_the_formats_of_its_state(tmp_path, timed):
    kept = {'g': {'channels_last': False, 'bf16': False}, 't': {'channels_last': True, 'bf16': False}}
    model = runs.model({**runs.options(tmp_path, **TIMED), 'formats': kept})
    assert not timed and model.saver.state()['formats'] == kept
    assert model.distiller.formats == {'g': torch.contiguous_format, 't': torch.channels_last}


@pytest.mark.parametrize('channels_last', [True, False])
def test_a_format_that_the_options_give_is_not_timed(tmp_path, timed, channels_last):
    model = runs.model(runs.options(tmp_path, channels_last=channels_last))
    assert not timed and model.saver.state()['formats'] is None
    assert set(model.distiller.formats.values()) == {NetworkFormat(channels_last, False).memory_format}


def test_timing_changes_nothing_of_the_networks(tmp_path, bf16):
    torch.manual_seed(5)
    model = runs.model(runs.options(tmp_path, **TIMED))
    drawn = torch.rand(3)
    torch.manual_seed(5)
    other = runs.model(runs.options(tmp_path, channels_last=False))
    assert torch.equal(drawn, torch.rand(3))
    for key, value in model.net_g.state_dict().items():
        assert torch.equal(value, other.net_g.state_dict()[key])
    assert all(parameter.grad is None for parameter in model.net_g.parameters())


@pytest.mark.parametrize('option', TIMED)
def test_another_word_is_refused(tmp_path, option):
    with pytest.raises(Exception, match=f"train.{option}: .*fast.*timed"):
        check_options(runs.options(tmp_path, **{option: 'fast'}), is_train=True)
