"""Names that become names of files stay in the folder they are meant for."""
import pytest
from refusals import refusal

from mipkd_model.data import DataError
from mipkd_model.data.names import check_name


@pytest.mark.parametrize('name', ['0001', 'ünicode name', 'a.b', '-', 'x' * 200])
def test_names_of_files_are_names(name):
    assert check_name(name, 'here') == name


@pytest.mark.parametrize('name', ['', '.', '..', ' ', '../a', '/a', 'a/b', 'a\\b', 'a\0', 'a\n', 'a\u202e', '\udc80',
                                  'ü' * 101, None, 5, b'a', ['a']], ids=ascii)
def test_others_are_refused_in_one_short_line(name):
    message = refusal(check_name, name, 'here', kind=DataError)
    assert message.startswith('here: ') and len(message) < 300

