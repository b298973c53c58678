"""What a refused call says."""
import pytest


def refusal(function, *args, kind, **kwargs):
    """The message of the error of that kind, which must be one line without control characters."""
    with pytest.raises(kind) as error:
        function(*args, **kwargs)
    message = str(error.value)
    assert message.isprintable(), 'a message is one line, without control characters'
    return message
