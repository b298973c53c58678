"""Checks data: what ``mipkd data verify`` does, from a copy of this repository that is not installed."""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from mipkd_model.commands.data import run_script  # noqa: E402


def main() -> int:
    return run_script(ROOT, 'verify')


if __name__ == '__main__':
    sys.exit(main())
