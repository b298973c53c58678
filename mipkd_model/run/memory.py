"""What is said where a step of a training does not fit into memory."""
from mipkd_arch.base.failures import on_no_memory

from .states import states_in


def memory_of_steps(opt, iteration):
    """Context of a step; where memory runs out in it, the options that decide about it are named.

    Args:
        opt (dict): all options.
        iteration (int): of the step.

    Raises:
        UserError: in place of what PyTorch raises.
    """
    def message(asked):
        train, data = opt['train'], opt['datasets']['train']
        parts, batch, side = train.get('accumulate', 1), data['batch_size_per_gpu'], data.get('gt_size')
        crops = f'{batch} crops of {side}x{side}' if side else f'{batch} samples'
        state = next(iter(states_in(opt['path'].get('training_states', '')).values()), None)
        remedies = [f'datasets.train.batch_size_per_gpu: {batch}' if batch > 1 else '',
                    f'gt_size: {side}' if side else '']
        lower = ' or '.join(filter(None, remedies))
        line = f'iteration {iteration:,}: not enough memory for a step of {crops}{asked}; '
        if batch > parts:
            line += f'raise train.accumulate: {parts}, which passes a batch in so many parts'
            line += f' (with --auto_resume, for {state} is there)' if state else ''
            line += f', or lower {lower}' if lower else ''
        else:
            line += f'lower {lower}' if lower else 'take smaller networks'
        return line

    return on_no_memory(message)
