"""The benchmark of exported students."""
import json
import subprocess
import sys

import pytest
import runs

for package in ('onnx', 'onnxruntime', 'pnnx', 'ncnn'):
    pytest.importorskip(package, reason=f'{package} is not installed')


def test_each_format_is_measured_with_one_and_two_threads():
    done = subprocess.run([sys.executable, 'benchmarks/deploy.py', '--size', '16', '--rounds', '2'], cwd=runs.ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found['milliseconds']) == ['1', '2'] and found['versions']['torch']
    for times in found['milliseconds'].values():
        assert {'teacher, PyTorch', 'student, ONNX', 'student, ONNX int8', 'student, ncnn'} <= times.keys()
        assert all(0 < one['least'] <= one['median'] for one in times.values())
