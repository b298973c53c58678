"""The whole option file and its blocks other than those of training and datasets."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mipkd_arch.base.option_types import Block, Count, Doc, FileName, FilePath, Iterations, Mapped, Text


class OptionFile(Block):
    """What option files of trainings and tests have in common."""
    refused = {'find_unused_parameters': 'distributed training finds by itself which weights an iteration leaves out'}
    name: FileName = Field(description='Name of the run and of its folder in experiments or results.')
    model_type: Annotated[Any, Doc('MiPKDModel')] = Field(
        description='Class that trains and tests. BasicSR\'s other models run, too; their options are checked as far '
                    'as BasicSR\'s pipeline reads them.')
    scale: Annotated[int, Field(ge=1, le=64)] = Field(
        description='Size of gt over size of lq; 1: images are restored in their own size.')
    num_gpu: Annotated[Literal['auto'] | Annotated[int, Field(ge=0)],
                       Doc('auto or an integer of at least 0')] = Field(
        description='auto: all GPUs, one process for each by torchrun; 0: the CPU.')
    manual_seed: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = Field(
        None, description='Random seed of all random choices; null: another one in each run.')
    plugins: Annotated[Any, Doc('a folder or a list of folders')] = Field(
        None, description='Folders of networks, losses, datasets, models and metrics of your own, in files '
                          '`*_arch.py`, `*_loss.py`, `*_dataset.py`, `*_model.py` and `*_metric.py`.')
    table: Mapped | None = Field(None, description='Where the results stand in tables.')
    datasets: Mapped = Field(description='Images for training and for measuring.')
    network_g: Mapped = Field(description='The student: type, and arguments of that network.')
    network_t: Mapped | None = Field(
        None, description='The teacher, which losses other than pixel_opt need: type and arguments.')
    path: Mapped = Field(description='Files of weights and states.')
    train: Mapped | None = Field(None, description='How a student is trained, and by which losses.')
    val: Mapped | None = Field(None, description='How networks are measured.')
    logger: Mapped | None = Field(None, description='What a training logs and saves.')
    dist_params: Mapped | None = Field(
        None, description='How the processes of distributed training find each other.')


class TrainingFile(OptionFile):
    """An option file of a training."""
    train: Mapped = Field(description='How a student is trained, and by which losses.')
    logger: Mapped = Field(description='What a training logs and saves.')


class TestFile(OptionFile):
    """An option file of a test."""
    __test__ = False  # no test of pytest
    val: Mapped = Field(description='How networks are measured.')


class TableOptions(Block):
    """``table``."""
    pair: Text | None = Field(None, description='Teacher and student.')
    method: Text | None = Field(None, description='The method.')


class PathOptions(Block):
    """``path``."""
    pretrain_network_g: FilePath | None = Field(
        None, description='Weights that the student starts from, or that a test measures.')
    strict_load_g: bool = Field(True, description='false: load only the weights of equal name and shape.')
    param_key_g: Text | None = Field(
        None, description='Which weights of the checkpoint; null: params_ema or another average where there is one, '
                          'else params.')
    pretrain_network_t: FilePath | None = Field(
        None, description='Weights of the teacher, needed unless network_t brings its own.')
    strict_load_t: bool = Field(True, description='As strict_load_g, for the teacher.')
    param_key_t: Text | None = Field(None, description='As param_key_g, for the teacher.')
    resume_state: FilePath | None = Field(
        None, description='Training state to resume from; --auto_resume finds the newest one of the run.')
    ignore_resume_networks: Text | list[Text] | None = Field(
        None, description='Not needed here; accepted for option files that BasicSR\'s own launcher reads, too.')


class ValOptions(Block):
    """``val``, of trainings and tests."""
    refused = {'window_size': 'images are padded by what the network needs in any case'}
    val_freq: Iterations | None = Field(None, description='Iterations between two validations; trainings need it.')
    save_img: bool = Field(False, description='Save the outputs.')
    suffix: FileName | None = Field(
        None, description='End of the names of saved images; null: the name of the test.')
    pbar: bool | None = Field(None, description='Show a progress bar; null: on a terminal only.')
    metrics: Annotated[Any, Doc('a mapping or null')] = Field(
        None, description='What is measured: metrics by names of your own.')
    self_ensemble: bool = Field(
        False, description='Self-ensemble: the mean over the 8 flips and rotations of each image.')
    tile: Count | None = Field(None, description='Side of the tiles that images are cut into, in lq pixels.')
    tile_pad: Annotated[int, Field(ge=0)] | None = Field(
        16, description='Overlap: lq pixels that a tile sees beyond its edge.')
    check_teacher: bool = Field(
        True, description='Measure the teacher once before the training, and warn if it is worse than bicubic.')


class ValidationOptions(ValOptions):
    """``val`` of a training."""
    val_freq: Iterations = Field(description='Iterations between two validations.')


class MetricOptions(Block):
    """``val.metrics.<name>``, what all metrics have; other arguments are those of the metric's function."""
    model_config = {'extra': 'allow'}
    type: Annotated[Any, Doc('calculate_psnr, calculate_ssim or another metric of BasicSR')] = Field(
        description='The metric.')
    crop_border: Annotated[int, Field(ge=0)] = Field(
        0, description='Pixels at each edge that are left out; usually scale.')
    test_y_channel: bool = Field(False, description='Measure on Y of YCbCr, as papers do, instead of on RGB.')
    better: Literal['higher', 'lower'] = Field('higher', description='Which values are better.')


class WandbOptions(Block):
    """``logger.wandb``."""
    project: Text | None = Field(None, description='Project there; null sends nothing. Needs use_tb_logger.')
    resume_id: Text | None = Field(
        None, description='Run there that this one goes on in; null: the one that it has begun, which is in its '
                          'wandb_id.txt.')


class LoggerOptions(Block):
    """``logger``."""
    print_freq: Iterations = Field(
        description='Iterations between two lines of losses in the log, or between two losses on the progress bar.')
    save_checkpoint_freq: Iterations = Field(
        description='Iterations between two checkpoints of weights and training state.')
    keep_states: Count = Field(3, description='Newest training states that are kept.')
    gradients: Iterations | None = Field(
        None, description='Iterations between two measurements of each loss\'s gradient at the student: its norm, and '
                          'its cosine with that of the pixel loss, written to gradients.csv. null: none.')
    use_tb_logger: bool = Field(
        False, description='Log to TensorBoard, in tb_logger/<name>: losses, learning rates, metrics, and at each '
                           'validation the same crops of bicubic, student, teacher and gt.')
    wandb: Mapped | None = Field(None, description='Send that log, with its images, to Weights & Biases.')


class DistOptions(Block):
    """``dist_params``."""
    backend: Literal['auto', 'nccl', 'gloo'] = Field('auto', description='auto: nccl on GPUs, gloo on CPUs.')
    port: Annotated[int, Field(ge=1, le=65535)] = Field(
        29500, description='Port of the first process; for SLURM only.')
