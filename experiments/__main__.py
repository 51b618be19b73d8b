"""Does one of the paper's experiments: all its runs one after the other, then the table and the figure.

    python -m experiments figure1 --data data/cifar10 --out runs/figure1

It can be interrupted: the same command goes on where it was. The same command in another terminal helps: each takes
the runs that nobody has begun. Every one of them makes the table of all that is finished.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from alexnet_tf.program.arguments import CommandParser, fraction, whole_number
from alexnet_tf.program.errors import DONE, FAULT, UserError, run_command
from experiments.plans import PLANS, Plan
from experiments.running import Choice, do


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    arguments = _parser().parse_args(argv)
    plan, out = _plan(arguments), arguments.out
    tell = functools.partial(print, flush=True)

    from experiments.evaluating import evaluate
    from experiments.tables import broken_down, collect

    if not arguments.collect:
        do(plan, out, tell, Choice(arguments.arms, arguments.seeds))
        evaluate(plan, out, tell)
    print(collect(plan, out), end="")
    print(f"{plan.name}.json, {plan.name}.md and {plan.name}.png are in {out}")
    broken = broken_down(plan, out)
    for line in broken:
        print(line, file=sys.stderr)
    return FAULT if broken else DONE


def _plan(arguments: argparse.Namespace) -> Plan:
    """The plan as the options have it. Seeds beyond its own are further ones."""
    plan = PLANS[arguments.experiment]
    if unknown := sorted(set(arguments.arms or ()) - {arm.name for arm in plan.arms}):
        raise UserError(f"--arms {' '.join(unknown)}: {plan.name} has {', '.join(arm.name for arm in plan.arms)}")
    if arguments.target is not None and plan.target is None:
        raise UserError(f"--target: {plan.name} trains every run to its last epoch; leave the option out")
    return replace(
        plan,
        seeds=tuple(dict.fromkeys((*plan.seeds, *(arguments.seeds or ())))),
        target=plan.target if arguments.target is None else arguments.target,
        data=arguments.data,
    )


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="python -m experiments", description=__doc__)
    add = parser.add_argument
    add("experiment", choices=tuple(PLANS), help="which; configs/experiments/ tells what each is about")
    add("--out", type=Path, required=True, metavar="DIR", help="the folder for the runs, the table and the figure")
    add("--data", type=Path, metavar="DATA", help="the folder of converted pictures (default: the config's own)")
    add("--seeds", type=whole_number(0), nargs="+", metavar="N",
        help="run these alone, which may be further ones (default: the experiment's own)")  # fmt: skip
    add("--arms", nargs="+", metavar="ARM", help="of what is compared, run this alone (default: all)")
    add("--target", type=fraction, metavar="E",
        help="figure1: the training error, from 0 to 1, that the table is about (default: 0.25)")  # fmt: skip
    add("--collect", action="store_true", help="run nothing, collect what is finished")
    return parser


if __name__ == "__main__":
    run_command(main)
