"""The text of a model card."""
from __future__ import annotations

from pathlib import Path, PurePath

from ..base.files import file_sha256
from ..version import __version__
from .card import OPTION_FILE, Card
from .facts import option_file

FORMATS = {'.pth': 'checkpoint of BasicSR, key `params_ema`', '.safetensors': 'safetensors', '.onnx': 'ONNX, float32',
           '_fp16.onnx': 'ONNX, float16', '_int8.onnx': 'ONNX, int8', '.param': 'ncnn, network',
           '.bin': 'ncnn, weights in float16'}


def text_of(card: Card) -> str:
    """The model card in Markdown, without its head."""
    picture = ('\n![The same crop by bicubic, by the student, and of the ground truth](comparison.png)\n'
               if card.has_picture else '')
    license_text = card.license_name or ('No license is stated: ask the author before you use or publish '
                                         'anything of this folder.')
    parts = [f'# {card.name}\n\n{card.about}\n{picture}',
             f'## Results\n\n{_results(card)}', f'## Costs\n\n{_costs(card)}', f'## Use\n\n{_use(card)}',
             f'## Training\n\n{_training(card)}', f'## Limits\n\n{_limits(card)}', f'## Files\n\n{_files(card)}',
             f'## License\n\n{license_text}\n' + (f'\nAuthor: {card.author}\n' if card.author else '')]
    return '\n'.join(parts)


def _results(card: Card) -> str:
    if not card.rows:
        return 'No evaluation of these weights is recorded.\n'
    has_teacher = any(row.teacher for row in card.rows)
    columns = ['bicubic', 'student', *(['teacher'] if has_teacher else [])]
    lines = [f'| dataset | images | {" | ".join(columns)} |', f'|---|---|{"---|" * len(columns)}']
    for row in card.rows:
        cells = [_scores(row.bicubic), _scores(row.student), *([_scores(row.teacher or {})] if has_teacher else [])]
        lines.append(f'| {row.dataset} | {row.images} | {" | ".join(cells)} |')
    measured = {kind for row in card.rows for kind in row.student}
    kinds = [text for kind, text in (('psnr', 'PSNR in dB'), ('ssim', 'SSIM')) if kind in measured]
    protocols = sorted({row.protocol for row in card.rows})
    doubts = [f'{row.dataset}: {row.record.dataset["check"]}.' for row in card.rows
              if row.record.dataset.get('good') is False]
    return '\n'.join([*lines, '', f'{" / ".join(kinds)}, x{card.student.scale}, on {"; ".join(protocols)}; images '
                      'rounded to 8 bits.', *doubts, ''])


def _scores(scores: dict[str, float]) -> str:
    psnr, ssim = scores.get('psnr'), scores.get('ssim')
    return ' / '.join(text for text in (f'{psnr:.2f}' if psnr is not None else '',
                                        f'{ssim:.4f}' if ssim is not None else '') if text) or '?'


def _costs(card: Card) -> str:
    timed = all(cost.ms is not None for cost in card.costs)
    lines = [f'| network | parameters | MACs |{" ms |" if timed else ""}', f'|---|---|---|{"---|" if timed else ""}']
    lines += [f'| {cost.name} | {_millions(cost.parameters)} | {cost.macs / 1e9:.2f} G |'
              + (f' {cost.ms:.1f} |' if timed else '') for cost in card.costs]
    return '\n'.join([*lines, '', f'{card.how}.', ''])


def _use(card: Card) -> str:
    names = {file.name.removeprefix(card.name): file.name for file in card.files}
    parts = []
    best = next((names[ending] for ending in ('.pth', '.safetensors', '.onnx') if ending in names), None)
    if best:
        parts.append(f'```\nmipkd upscale photos --model {best} --out upscaled\n```\n')
    weights = names.get('.safetensors') or names.get('.pth')
    if weights and card.opens_in_spandrel:
        parts.append('With spandrel, and so in programs that use it, such as chaiNNer:\n\n```python\n'
                     'import spandrel\nimport torch\n\n'
                     f"network = spandrel.ModelLoader().load_from_file('{weights}').eval()\n"
                     f'with torch.no_grad():\n'
                     f'    sr = network(torch.rand(1, 3, 48, 48))  # RGB in [0, 1] -> (1, 3, '
                     f'{48 * card.student.scale}, {48 * card.student.scale})\n```\n')
    if '.onnx' in names:
        parts.append('With onnxruntime:\n\n```python\nimport numpy as np\nimport onnxruntime\n\n'
                     f"session = onnxruntime.InferenceSession('{names['.onnx']}', providers=['CPUExecutionProvider'])\n"
                     "lq = np.random.rand(1, 3, 48, 48).astype('float32')   # RGB in [0, 1]\n"
                     "sr, = session.run(['output'], {'input': lq})\n```\n")
    if '.param' in names:
        parts.append(f'With ncnn, Upscayl and chaiNNer: `{names[".param"]}` and `{names[".bin"]}`, blobs `data` and '
                     '`output`.\n')
    return '\n'.join(parts)


def _training(card: Card) -> str:
    training = card.training
    if not training:
        return 'Nothing is recorded of the training.\n'
    origin, teacher = training.get('option_file') or {}, training.get('teacher')
    file, copied = origin.get('file', ''), option_file(card.student)
    here = OPTION_FILE if copied else PurePath(file).name
    command = origin.get('command', '').replace(file, here) if file else ''
    seconds = training.get('seconds_per_iteration')
    facts = {'data': ', '.join(card.data), 'iterations': training.get('total_iter'),
             'batch': training.get('batch_size'), 'seed': training.get('seed'),
             'seconds per iteration': seconds and f'{seconds:.3f}', 'device': training.get('device'),
             'teacher': teacher and f'`{Path(teacher["file"]).name}`, SHA-256 `{teacher["sha256"]}`',
             'option file': f'[{here}]({here})' if copied else here,
             'versions': ', '.join(f'{name} {value}' for name, value in (training.get('versions') or {}).items())}
    lines = [f'- {name}: {value}' for name, value in facts.items() if value not in (None, '')]
    return (f'```\n{command}\n```\n\n' if command else '') + '\n'.join(lines) + '\n'


def _limits(card: Card) -> str:
    multiple = card.student.size_multiple
    lines = [f'- It enlarges by {card.student.scale}, and by nothing else.',
             '- It was made for LR images like those that it was trained on. Noise, blur and compression that those '
             'did not have are enlarged, too.',
             '- Detail that LR images do not have is estimated, not recovered: it is no evidence of what was there.']
    if multiple > 1:
        lines.append(f'- Sides of its inputs are multiples of {multiple}; `mipkd upscale` and the app pad them.')
    return '\n'.join([*lines, *(f'- {line}' for line in card.missing), ''])


def _files(card: Card) -> str:
    lines = ['| file | format | bytes | SHA-256 |', '|---|---|---|---|']
    lines += [f'| {file.name} | {FORMATS[file.name.removeprefix(card.name)]} | {file.stat().st_size:,} | '
              f'`{file_sha256(file)}` |' for file in card.files]
    return '\n'.join([*lines, '', f'Written by mipkd {__version__}. `sha256sum -c SHA256SUMS` checks all files of this '
                      'folder.', ''])


def _millions(count: int) -> str:
    return f'{count / 1e6:.2f}M'
