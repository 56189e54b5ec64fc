"""``maskforge config``: print, lint, explain, list and copy configs."""
import argparse
import shutil
import sys
from pathlib import Path

from .arguments import add_options
from .errors import run_verb


def parser() -> argparse.ArgumentParser:
    """What to do with which config."""
    parser = argparse.ArgumentParser(prog='maskforge config', description='Print, check and explain configs.')
    parser.add_argument('configs', nargs='*', metavar='CONFIG', help='files, or maskforge::mask_rcnn/NAME.py')
    action = parser.add_mutually_exclusive_group()
    action.add_argument('--print', action='store_true', help='the merged config (what happens without a flag)')
    action.add_argument('--lint', action='store_true', help='check the configs, all shipped ones if none is named')
    action.add_argument('--explain', metavar='KEY', help='which file and line set KEY, and what it replaced')
    action.add_argument('--list', action='store_true', help='names of the shipped configs')
    action.add_argument('--copy', metavar='NAME', help='write a shipped config into --to as a file that inherits it')
    parser.add_argument('--save-path', metavar='FILE', help='with --print: write the merged config there')
    parser.add_argument('--strict', action='store_true', help='with --lint: warnings are failures too')
    parser.add_argument('--to', default='.', metavar='DIR', help='with --copy: the target folder (default: here)')
    parser.add_argument('--whole', action='store_true', help='with --copy: all values in one file, without bases')
    add_options(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Do one of the actions; return 1 when the linter found errors."""
    return run_verb(parser(), _config, argv)


def _config(args: argparse.Namespace) -> int:
    from maskforge import config
    if args.list:
        print('\n'.join(f'maskforge::{name}' for name in config.shipped_configs()))
        return 0
    if args.copy:
        return _copy(args)
    names = args.configs or ([f'maskforge::{name}' for name in config.shipped_configs()] if args.lint else [])
    if not names:
        raise ValueError('name a config: maskforge config CONFIG [--lint | --explain KEY], or --list')
    if args.lint:
        return _lint(names, args)
    for name in names:
        if args.explain:
            print(config.explain(name, args.explain, options=args.cfg_options))
        else:
            _print(name, args)
    return 0


def _print(name: str, args: argparse.Namespace) -> None:
    from maskforge.config import load_config
    cfg = load_config(name, options=args.cfg_options)
    if args.save_path:
        cfg.dump(args.save_path)
    else:
        print(cfg.pretty_text, end='')


def _lint(names: list[str], args: argparse.Namespace) -> int:
    from maskforge.config import check_keys, lint_config, load_config
    bad = 0
    for name in names:
        try:
            cfg = load_config(name, options=args.cfg_options)
            findings = [*check_keys(cfg), *lint_config(cfg)]
        except (ValueError, KeyError, TypeError, OSError, ImportError) as error:
            print(f'{name}: error: {error}')
            bad += 1
            continue
        for finding in findings:
            print(f'{name}: {finding}')
        bad += any(finding.level == 'error' or args.strict for finding in findings)
    print(f'{len(names)} configs checked, {bad} with errors')
    return 1 if bad else 0


def _copy(args: argparse.Namespace) -> int:
    from maskforge.config import find_config, load_config
    name = args.copy if '::' in args.copy else f'maskforge::{args.copy}'
    source = find_config(name)
    target = Path(args.to) / source.name
    if target.exists():
        raise FileExistsError(f'{target} exists already; name another folder with --to')
    target.parent.mkdir(parents=True, exist_ok=True)
    if args.whole:
        load_config(name, options=args.cfg_options).dump(target)
    elif '_base_' in source.parts:
        shutil.copyfile(source, target)
    else:
        target.write_text(f"_base_ = '{name if name.endswith('.py') else name + '.py'}'\n\n"
                          '# What you set here replaces the values of the base.\n', encoding='utf-8')
    print(f'{target} written')
    return 0


if __name__ == '__main__':
    sys.exit(main())
