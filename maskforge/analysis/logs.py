"""Curves and times from the JSON lines that a run writes (``<work_dir>/<timestamp>/vis_data/scalars.json``)."""
import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

_COUNTERS = {'step', 'epoch', 'iter', 'time', 'data_time', 'memory'}
_PANELS = ('losses', 'metrics', 'training')
#: metrics by size and at single thresholds are drawn on request only
_DETAIL = ('_s', '_m', '_l', '_75')


def plot_curve(logs: str | Path | Sequence[str | Path],
               *,
               keys: Sequence[str] | None = None,
               out: str | Path = 'curves.png',
               title: str | None = None,
               legend: Sequence[str] | None = None,
               start_epoch: int = 0,
               smooth: int = 1,
               style: str | None = None) -> Path:
    """Plot values of one or several runs against iterations: losses (of validation dashed), metrics, anything else.

    Args:
        logs: JSON lines files, or work directories (resumed runs are joined).
        keys: names such as ``loss_mask`` or ``coco/segm_mAP``; by default the losses and the main metrics.
        out: picture to write, .png, .pdf or .svg.
        title: heading.
        legend: one name per curve, in the order runs x keys.
        start_epoch: leave out training values before this epoch.
        smooth: width in points of the running mean of training values.
        style: a matplotlib style.

    Raises:
        FileNotFoundError: no log at a path.
        KeyError: a key that no log has; the message names near ones.
        ValueError: the legend's length, a file that is not JSON lines.
    """
    runs = [read_log(path) for path in _as_list(logs)]
    keys = list(keys) if keys else _default_keys(runs)
    _check_keys(keys, runs, _as_list(logs))
    curves = _curves(runs, keys, _as_list(logs), start_epoch, smooth)
    if legend is not None:
        if len(legend) != len(curves):
            raise ValueError(f'legend has {len(legend)} names for {len(curves)} curves (runs x keys).')
        curves = [(panel, name, x, y) for name, (panel, _, x, y) in zip(legend, curves)]
    return _draw(curves, Path(out), title, style)


def cal_train_time(logs: str | Path | Sequence[str | Path], *, include_outliers: bool = False) -> list[dict]:
    """Seconds per iteration of each run.

    Args:
        logs: as in :func:`plot_curve`.
        include_outliers: count the first logged value of each epoch, which contains the start of the workers.

    Returns:
        Per run: ``log``, ``average_iter_time``, ``std_over_epochs``, ``slowest_epoch`` and ``fastest_epoch`` as
        (epoch, seconds).

    Raises:
        ValueError: a log without training times.
    """
    found = []
    for path in _as_list(logs):
        by_epoch: dict[int, list[float]] = {}
        for row in read_log(path)['train']:
            if 'time' in row:
                by_epoch.setdefault(int(row.get('epoch', 0)), []).append(row['time'])
        if not by_epoch:
            raise ValueError(f'{path}: no training times in the log.')
        # the first value of an epoch is left out only where another one remains
        kept = {epoch: times if include_outliers or len(times) == 1 else times[1:] for epoch, times in by_epoch.items()}
        means = {epoch: float(np.mean(times)) for epoch, times in kept.items()}
        slowest, fastest = max(means, key=means.get), min(means, key=means.get)
        found.append(dict(log=str(path), average_iter_time=float(np.mean(np.concatenate(list(kept.values())))),
                          std_over_epochs=float(np.std(list(means.values()))),
                          slowest_epoch=(slowest, means[slowest]), fastest_epoch=(fastest, means[fastest])))
    return found


def read_log(path: str | Path) -> dict[str, list[dict]]:
    """Rows of a run: ``train`` (they have a learning rate) and ``val``, each by rising step.

    A work directory's logs are joined; where a resumed run repeats a step, the later log wins.
    """
    rows: dict[str, dict[int, dict]] = {'train': {}, 'val': {}}
    for file in _log_files(Path(path)):
        iteration = None
        for number, line in enumerate(file.read_text(encoding='utf-8').splitlines(), start=1):
            if line.strip():
                row = _parse(line, file, number)
                step = int(row.get('step', row.get('iter', number)))
                if 'lr' in row:
                    iteration = row.get('iter', step)
                    rows['train'][step] = row
                else:
                    # a validation's step may be an epoch: place it at the iteration that it follows
                    rows['val'][step] = {'iter': step if iteration is None else iteration, **row}
    return {kind: [found[step] for step in sorted(found)] for kind, found in rows.items()}


def _as_list(value: str | Path | Sequence) -> list:
    return [value] if isinstance(value, (str, Path)) else list(value)


def _log_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(path.glob('*/vis_data/scalars.json')) or sorted(path.glob('vis_data/scalars.json'))
    if not found:
        raise FileNotFoundError(f'{path}: no log there. Give a work directory of a run, or its '
                                '<timestamp>/vis_data/scalars.json.')
    return found


def _parse(line: str, file: Path, number: int) -> dict:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f'{file}, line {number}: not JSON ({error}); the JSON lines are in '
                         '<timestamp>/vis_data/scalars.json, the .log file is for people.') from None
    if not isinstance(row, Mapping):
        raise ValueError(f'{file}, line {number}: expected a JSON object, got {type(row).__name__}.')
    return dict(row)


def _names(run_rows: dict[str, list[dict]], kind: str) -> list[str]:
    names = dict.fromkeys(name for row in run_rows[kind] for name, value in row.items()
                          if isinstance(value, (int, float)))
    return [name for name in names if name not in _COUNTERS]


def _default_keys(runs: Sequence[dict]) -> list[str]:
    losses = [name for rows in runs for name in _names(rows, 'train') if 'loss' in name]
    metrics = [name for rows in runs for name in _names(rows, 'val')
               if name == 'val_loss' or not ('loss' in name or name.endswith(_DETAIL))]
    return list(dict.fromkeys(losses + metrics))


def _check_keys(keys: Sequence[str], runs: Sequence[dict], paths: Sequence) -> None:
    for rows, path in zip(runs, paths):
        known = [*_names(rows, 'train'), *_names(rows, 'val'), 'time', 'data_time', 'memory']
        for key in keys:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
                raise KeyError(f'{path}: no value named {key!r} in the log. '
                               f'{f"Did you mean {chr(32).join(near)}? " if near else ""}It has: {", ".join(known)}.')


def _curves(runs: Sequence[dict], keys: Sequence[str], paths: Sequence, start_epoch: int,
            smooth: int) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """(panel, name, x, y) per run and key."""
    found = []
    for rows, path in zip(runs, paths):
        for key in keys:
            kind = 'train' if any(key in row for row in rows['train']) else 'val'
            chosen = [row for row in rows[kind] if key in row
                      and not (kind == 'train' and row.get('epoch', start_epoch) < start_epoch)]
            x = np.array([row.get('iter', row.get('step', i)) for i, row in enumerate(chosen)], float)
            y = np.array([row[key] for row in chosen], float)
            if kind == 'train' and smooth > 1 and len(y):
                y = _running_mean(y, smooth)
            panel = 'losses' if 'loss' in key else 'metrics' if kind == 'val' else 'training'
            found.append((panel, key if len(runs) == 1 else f'{Path(path).name} {key}', x, y))
    return found


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of the last ``width`` values at each point, of fewer at the start."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _draw(curves: Sequence[tuple], out: Path, title: str | None, style: str | None) -> Path:
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    panels = [panel for panel in _PANELS if any(curve[0] == panel for curve in curves)]
    with matplotlib.style.context(style or 'default'):
        figure = Figure(figsize=(8 * len(panels), 4.5), layout='constrained')
        FigureCanvasAgg(figure)
        for position, panel in enumerate(panels, start=1):
            axes = figure.add_subplot(1, len(panels), position)
            for kind, name, x, y in curves:
                if kind == panel:
                    axes.plot(x, y, '--' if 'val_' in name else '-', label=name, linewidth=1.3, markersize=3,
                              marker='o' if len(x) < 30 else None)
            axes.set_xlabel('iteration')
            axes.set_title(panel, fontsize=11)
            axes.grid(alpha=0.3)
            # beside the axes, where it hides no curve
            axes.legend(fontsize=8, loc='upper left', bbox_to_anchor=(1.01, 1.0))
        if title:
            figure.suptitle(title)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=120)
    return out
