"""Records of evaluations: written whole, read strictly."""
import json
from dataclasses import asdict

import pytest
import records
from refusals import refusal

from mipkd_model.evaluation.records import RecordError, find_records, read_record, write_record


def test_a_record_is_read_as_it_was_written(tmp_path):
    made = records.record(training={'seed': 3, 'seconds_per_iteration': None})
    assert read_record(write_record(made, tmp_path / 'records/Set5.json')) == made


@pytest.mark.parametrize('value', [float('inf'), float('-inf')])
def test_infinite_values_survive_in_json_that_any_reader_takes(tmp_path, value):
    file = write_record(records.record(psnr=value), tmp_path / 'records/Set5.json')
    json.loads(file.read_text(), parse_constant=lambda name: pytest.fail(f'{name} is not JSON'))
    assert read_record(file).mean['psnr'] == value


def test_means_that_are_no_numbers_are_kept_as_such(tmp_path):
    found = read_record(write_record(records.record(psnr=float('nan')), tmp_path / 'Set5.json'))
    assert found.mean['psnr'] != found.mean['psnr']


def test_a_failed_write_leaves_the_older_record(tmp_path):
    file = write_record(records.record(), tmp_path / 'Set5.json')
    before = file.read_text()
    with pytest.raises(TypeError):
        write_record(records.record(seed=object()), file)
    assert file.read_text() == before and [file] == list(tmp_path.iterdir())


def test_a_folder_gives_the_records_of_all_runs_in_it_but_of_archived_ones(tmp_path):
    files = [records.written(tmp_path, method=method, dataset=dataset)
             for method in ('FAKD', 'MiPKD') for dataset in ('Set14', 'Set5')]
    records.written(tmp_path, name='test_FAKD_EDSR_x4_archived_20260102_030405')
    (tmp_path / 'summary.json').write_text('{}')
    assert list(find_records([tmp_path])) == files
    assert list(find_records([files[0].parent])) == files[:2]
    assert list(find_records([files[2], tmp_path])) == [files[2], files[0], files[1], files[3]]


def test_a_folder_without_records_is_refused_with_the_command_that_makes_some(tmp_path):
    line = refusal(find_records, [tmp_path], kind=RecordError)
    assert str(tmp_path) in line and 'mipkd test -opt' in line


def test_a_path_that_is_not_there_is_refused(tmp_path):
    assert 'none.json: is not a record' in refusal(find_records, [tmp_path / 'none.json'], kind=RecordError)


@pytest.mark.parametrize('text', ['', 'no json', '[]', '{}', '3', '{"format": "mipkd run 1"}', '{"format": 1}',
                                  '\x00\x01', '{"format": "mipkd evaluation 1"'])
def test_a_foreign_file_is_refused_by_name(tmp_path, text):
    file = tmp_path / 'records/Set5.json'
    file.parent.mkdir()
    file.write_text(text)
    assert refusal(find_records, [tmp_path], kind=RecordError).startswith(str(file))


def test_a_record_that_lacks_a_field_or_has_another_type_in_it_is_refused_by_the_field(tmp_path):
    file = write_record(records.record(), tmp_path / 'Set5.json')
    whole = json.loads(file.read_text())
    for name in asdict(records.record()):
        for broken in ({key: value for key, value in whole.items() if key != name}, {**whole, name: [1]}):
            file.write_text(json.dumps(broken))
            assert name in refusal(read_record, file, kind=RecordError)


@pytest.mark.parametrize('images', [{'a': {}}, {'a': 3}, {'a': {'scores': {'psnr': 'high'}, 'bicubic': {}, 'lq': 'a'}}])
def test_a_record_with_an_image_that_is_not_one_is_refused(tmp_path, images):
    file = write_record(records.record(), tmp_path / 'Set5.json')
    file.write_text(json.dumps({**json.loads(file.read_text()), 'images': images}))
    assert refusal(read_record, file, kind=RecordError).startswith(str(file))
