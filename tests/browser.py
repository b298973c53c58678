"""A headless browser, by the DevTools protocol over pipes."""
import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')
KEYS = {'ArrowLeft': 37, 'ArrowUp': 38, 'ArrowRight': 39, 'ArrowDown': 40, 'Tab': 9, '+': 187, '-': 189}

START = '''import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for number, end in enumerate(ends, 3):  # where the browser expects its ends of the pipes
    os.dup2(end, number)
os.execvp(sys.argv[3], sys.argv[3:])
'''


class Browser:
    """A page in a browser; messages of it that are no answers, such as its requests, are in ``events``."""

    def __init__(self, folder):
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if program is None:
            pytest.skip(f'needs a browser: none of {", ".join(NAMES)} is installed')
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        command = [program, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
                   f'--user-data-dir={folder}', '--remote-debugging-pipe', 'about:blank']
        self._process = subprocess.Popen([sys.executable, '-c', START, str(to_read), str(to_write), *command],
                                         pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._number, self.events, self._session = b'', 0, [], None
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self._session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Network', 'Runtime', 'Log'):
            self.call(f'{domain}.enable')

    def close(self):
        self._process.terminate()
        self._process.wait(60)
        os.close(self._read)
        os.close(self._write)

    def call(self, method, **params):
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': params}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._write, json.dumps(message).encode() + b'\0')
        while True:
            while b'\0' not in self._buffer:
                part = os.read(self._read, 1 << 20)
                assert part, f'the browser has ended with {self._process.wait(60)}'
                self._buffer += part
            line, _, self._buffer = self._buffer.partition(b'\0')
            answer = json.loads(line)
            if answer.get('id') == self._number:
                assert 'error' not in answer, answer
                return answer['result']
            self.events.append(answer)

    def run(self, code):
        """The value of an expression in the page; a promise is waited for."""
        result = self.call('Runtime.evaluate', expression=code, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def open(self, file, width=1280, height=900, dark=False):
        """Open a file in a window of that width, in CSS pixels."""
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        self.call('Emulation.setEmulatedMedia',
                  features=[{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
        self.events.clear()
        self.call('Page.navigate', url=Path(file).resolve().as_uri())
        self.wait(f'location.href == "{Path(file).resolve().as_uri()}" && document.readyState == "complete"')
        self.wait('"ready" in document.body.dataset')

    def wait(self, condition):
        """Wait until an expression is true in the page."""
        self.run(f'new Promise((good, bad) => {{ setTimeout(() => bad("never"), 20000); (function look() {{ '
                 f'try {{ if ({condition}) return good() }} catch {{}} setTimeout(look, 20) }})() }})')

    def press(self, key, shift=False):
        """Press a key."""
        for kind in ('keyDown', 'keyUp'):
            text = {'text': key} if len(key) == 1 and kind == 'keyDown' else {}
            self.call('Input.dispatchKeyEvent', type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key],
                      modifiers=8 if shift else 0, **text)

    def drag(self, *points):
        """Press the mouse at the first of some points (x, y), and move it over the others; one point is a click."""
        kinds = ['mousePressed', *['mouseMoved'] * (len(points) - 1), 'mouseReleased']
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', buttons=1, clickCount=1)

    def screenshot(self, file):
        """Write what the whole page looks like, as PNG."""
        size = self.call('Page.getLayoutMetrics')['cssContentSize']
        made = self.call('Page.captureScreenshot', captureBeyondViewport=True, clip={**size, 'scale': 1})
        Path(file).write_bytes(b64decode(made['data']))
