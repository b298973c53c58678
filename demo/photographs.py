"""Real photographs for the demo: those that the scikit-image package ships."""
from pathlib import Path

import skimage.data

from mipkd_arch.base.errors import UserError
from mipkd_model.data.prepare.pack import pack_pairs

VALIDATION = ('astronaut.png', 'chelsea.png', 'coffee.png')
TRAINING = ('brick.png', 'camera.png', 'coins.png', 'grass.png', 'gravel.png', 'hubble_deep_field.jpg', 'ihc.png',
            'moon.png', 'motorcycle_left.png', 'motorcycle_right.png', 'retina.jpg', 'rocket.jpg')


def pack(folder: Path, scale: int = 4) -> None:
    """Pack training and validation photographs below ``folder``; existing databases are kept."""
    shipped = Path(skimage.data.__file__).parent
    for part, names in (('train', TRAINING), ('val', VALIDATION)):
        files = [shipped / name for name in names]
        for file in files:
            if not file.is_file():
                raise UserError(f'{file}: this scikit-image does not ship it; pip install "scikit-image>=0.20,<0.27"')
        pack_pairs(files, folder, [scale], part=part)
