"""Validate from an option file: ``python basicsr/test.py -opt options/test_EDSRStudent_x4.yml``."""
import sys
from pathlib import Path

root = Path(__file__).resolve().parents[1]
# Users of BasicSR expect this folder, which has the name of the library: it must not be found as that one.
sys.path[:] = [entry for entry in sys.path if Path(entry or '.').resolve() != root / 'basicsr']
sys.path.append(str(root))

try:
    import mipkd_model
    mipkd_model.register()  # says in one line what is not installed
    from mipkd_model.launch import test
except ImportError as error:  # something is not installed; the message says what and how
    sys.exit(f'error: {error}')
except KeyboardInterrupt:
    sys.exit(130)  # as a shell has it of a process that Ctrl-C ended

if __name__ == '__main__':
    sys.exit(test(root))
