"""Option files as text: what is read, as which value, and what is refused."""
import math
import os

import pytest
import yaml
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.config.reader import parse, read_options


def refused(text):
    return refusal(parse, text, 'file.yml', kind=UserError)


@pytest.mark.parametrize('text', ['1e-4', '.5', '-.5e-3', '1.', '+2.5', '1e-05'])
def test_what_python_reads_as_a_number_with_a_fraction_is_one(text):
    value = parse(text, '')
    assert type(value) is float and value == parse(f'!!float {text}', '') == float(text)


@pytest.mark.parametrize('text', ['0', '-1', '+5', '250000', '1_000'])
def test_what_python_reads_as_a_whole_number_is_one(text):
    assert type(parse(text, '')) is int and parse(text, '') == int(text)


@pytest.mark.parametrize('text', ['1E5', '5e3', '!!float 5e3', '-1.5e+3'])
def test_a_whole_number_may_be_written_with_an_exponent(text):
    assert type(parse(text, '')) is int and parse(text, '') == float(text.removeprefix('!!float '))


@pytest.mark.parametrize('text', ['010', '12:30', '2024-01-01', '0b1', 'e5', '1e', '.', '-x', '1.2.3'])
def test_what_merely_looks_like_a_number_is_a_text(text):
    assert parse(text, '') == text


@pytest.mark.parametrize('text', ['yes', 'no', 'on', 'off', 'true', 'False', '~', 'null', '', 'none', 'body.10',
                                  '"1e-4"', '[1, 2.5, a, ~]', '{a: {b: [true]}}',
                                  '!!float 5e3', "'on'", '!!str 5', '0x1F'])
def test_anything_else_is_what_pyyaml_reads(text):
    assert parse(text, '') == yaml.safe_load(text)


def test_numbers_beyond_float64_are_read_for_the_checks_to_refuse():
    assert parse('1e400', '') == math.inf and parse('-.inf', '') == -math.inf and math.isnan(parse('.nan', ''))


@pytest.mark.parametrize('text, message', [
    ('a: 1\nb: 2\na: 3', "file.yml: line 3: 'a' is given twice in one mapping; remove one"),
    ('a: {b: 1, b: 1}', "line 1: 'b' is given twice"),
    ('a:\n  1: x', "line 2: '1' is no name of an option"), ('on: x', "line 1: 'on' is no name of an option"),
    ('[a]: x', 'line 1: a list or mapping is no name'), ('"": x', "line 1: '' is no name"), ('"a\\n": x', 'line 1: '),
    ('a: &b {c: 1}\nd:\n  <<: *b', "line 3: '<<' is no name of an option"),
    ('a: !!python/object/apply:os.getcwd []', 'for the tag'), ('a: !!python/name:os.system', 'for the tag'),
    ('a: !!binary aGk=', 'for the tag'), ('a: !!set {b}', 'for the tag'), ('a: !mine x', 'for the tag'),
    ('a: !!int 1e3', 'not a YAML text'), ('a: !!bool 5', 'not a YAML text'), ('a: &a [*a]', 'line 1'),
    ('[' * 5000, 'recursion'), ('a: *b', "line 1: found undefined alias 'b'"), ('a: 1\n--- \nb: 1', 'line 2:'),
    ('a: "\\UFFFFFFFF"', 'not a YAML'), ('a: ' + '9' * 5000, 'not a YAML text'), ('a\x07b: 1', 'not a YAML text'),
    ('a: 1\nscale 2\nb: 3', 'begun in line 2'), ('a:\n\tb: 2', 'line 2'), ('a: x: 2', 'line 1')])
def test_a_text_that_is_no_option_file_is_one_line(text, message):
    assert message in refused(text)


def test_null_is_written_as_in_yaml_and_not_as_in_python():
    assert refused('a: 1\nb: None').startswith('file.yml: line 2: None is a string in YAML; write ~ for null')
    assert parse('a: [~, null, "None", none]', '') == {'a': [None, None, 'None', 'none']}


def test_what_an_alias_stands_for_is_a_value_of_its_own():
    read = parse('a: &x {b: 1}\nc: *x', '')
    read['a']['b'] = 2
    assert read['c'] == {'b': 1}


@pytest.mark.parametrize('content, message', [
    (b'a: \xff', "cannot be read ('utf-8' codec"), ('a: 1'.encode('utf-16'), 'cannot be read'),
    ('a: 1'.encode('utf-16-le'), 'not a YAML text'), (b'\x89PNG\r\n\0', 'cannot be read'),
    (b'', 'is not an option file'), (b'- a\n', 'is not an option file')])
def test_a_file_that_is_none_is_refused_by_its_name(tmp_path, content, message):
    file = tmp_path / 'options.yml'
    file.write_bytes(content)
    line = refusal(read_options, file, kind=UserError)
    assert str(file) in line and message in line


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / 'options.yml').write_bytes(b'\xef\xbb\xbfname: x\n')
    assert read_options(tmp_path / 'options.yml') == {'name': 'x'}


def test_what_is_no_file_is_refused(tmp_path):
    for path, message in ((tmp_path, 'cannot be read'), (tmp_path / 'no.yml', 'cannot be read (No such file'),
                          (tmp_path / ('x' * 5000), 'cannot be read')):
        assert message in refusal(read_options, path, kind=UserError)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    (tmp_path / 'options.yml').touch(mode=0)
    assert 'Permission denied' in refusal(read_options, tmp_path / 'options.yml', kind=UserError)
