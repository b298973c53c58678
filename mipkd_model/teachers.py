"""Official weights of teachers, by name."""
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from mipkd_arch.errors import UserError, one_of

from basicsr.utils.download_util import download_file_from_google_drive

FOLDER = 'experiments/pretrained_models'


@dataclass(frozen=True)
class OfficialWeights:
    """One published checkpoint."""
    file: str
    """File name; BasicSR's model zoo ends it with the first eight digits of its SHA-256."""
    drive_id: str
    """Its id on Google Drive, from BasicSR's download script."""

    @property
    def sha256_start(self):
        return re.fullmatch(r'.*-([0-9a-f]{8})\.pth', self.file)[1]


OFFICIAL = {
    'EDSR_Lx2': OfficialWeights('EDSR_Lx2_f256b32_DIV2K_official-be38e77d.pth', '15257lZCRZ0V6F9LzTyZFYbbPrqNjKyMU'),
    'EDSR_Lx3': OfficialWeights('EDSR_Lx3_f256b32_DIV2K_official-3660f70d.pth', '18q_D434sLG_rAZeHGonAX8dkqjoyZ2su'),
    'EDSR_Lx4': OfficialWeights('EDSR_Lx4_f256b32_DIV2K_official-76ee1c8f.pth', '1GCi30YYCzgMCcgheGWGusP9aWKOAy5vl'),
}


def how_to_get_weights(path):
    """One sentence: the command that puts the weights at ``path``, or what to look at where none is known."""
    name = PurePath(path).name
    for key, official in OFFICIAL.items():
        if official.file == name:
            folder = PurePath(path).parent
            out = '' if str(folder) == FOLDER else f' --out {folder}'
            return f'Fetch it: mipkd teacher get {key}{out}'
    return 'Mend the path; it is relative to the folder the command is started in'


def get_weights(name, folder=FOLDER, fetch=download_file_from_google_drive):
    """Fetch official weights into ``folder``, unless they are there.

    Args:
        name (str): a key of ``OFFICIAL``.
        folder: where the file goes.
        fetch (callable): takes the drive id and a path to write to.

    Returns:
        Path: the checkpoint.

    Raises:
        UserError: unknown name, no connection, or a file that is not the published one.
    """
    official = OFFICIAL[one_of('teacher', name, tuple(OFFICIAL))]
    target = Path(folder) / official.file
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + '.part')
        try:
            fetch(official.drive_id, str(partial))
        except OSError as error:  # requests' exceptions are OSErrors
            partial.unlink(missing_ok=True)
            raise UserError(f'{official.file}: cannot be fetched from Google Drive ({type(error).__name__}); fetch it '
                            f'by hand from BasicSR\'s model zoo and put it into {folder}') from None
        _check_hash(partial, official)
        partial.replace(target)
    else:
        _check_hash(target, official)
    return target


def _check_hash(file, official):
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if not found.startswith(official.sha256_start):
        raise UserError(f'{file}: is not the published file (its SHA-256 starts with {found[:8]}, not '
                        f'{official.sha256_start}); remove it and fetch it anew')
