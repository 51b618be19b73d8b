"""Does one of the paper's experiments: all its runs one after the other, then the table and the figure.

    python -m experiments figure1 --data data/cifar10 --out runs/figure1

It can be interrupted: the same command goes on where it was.
"""

import argparse
import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from alexnet_tf.program.arguments import CommandParser, fraction, whole_number
from alexnet_tf.program.errors import DONE, UserError, run_command
from experiments.plans import PLANS


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    arguments = _parser().parse_args(argv)
    plan = PLANS[arguments.experiment]
    if arguments.seeds:
        plan = replace(plan, seeds=tuple(arguments.seeds))
    if arguments.arms:
        chosen = tuple(arm for arm in plan.arms if arm.name in arguments.arms)
        if missing := set(arguments.arms) - {arm.name for arm in chosen}:
            known = ", ".join(arm.name for arm in plan.arms)
            raise UserError(f"--arms {' '.join(sorted(missing))}: {plan.name} has {known}")
        plan = replace(plan, arms=chosen)
    if arguments.target is not None and plan.target is not None:
        plan = replace(plan, target=arguments.target)

    from experiments.running import do
    from experiments.tables import collect, evaluate_ensembles

    if not arguments.collect:
        do(plan, arguments.out, arguments.data, functools.partial(print, flush=True))
    print(collect(plan, arguments.out), end="")
    if plan.ensemble and not arguments.collect:
        for views in (1, 10):
            print(evaluate_ensembles(plan, arguments.out, views))
    print(f"{plan.name}.json, {plan.name}.md and {plan.name}.png are in {arguments.out}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="python -m experiments", description=__doc__)
    add = parser.add_argument
    add("experiment", choices=tuple(PLANS), help="which; configs/experiments/ tells what each is about")
    add("--out", type=Path, required=True, metavar="DIR", help="the folder for the runs, the table and the figure")
    add("--data", type=Path, metavar="DATA", help="the folder of converted pictures (default: the config's own)")
    add(
        "--seeds", type=whole_number(0), nargs="+", metavar="N", help="the seeds to run (default: the experiment's own)"
    )
    add("--arms", nargs="+", metavar="ARM",
        help="of what is compared, what to run; several such commands may share --out (default: all)")  # fmt: skip
    add("--target", type=fraction, metavar="E",
        help="figure1: the training error, from 0 to 1, that the table is about (default: 0.25)")  # fmt: skip
    add("--collect", action="store_true", help="run nothing, collect what is finished")
    return parser


if __name__ == "__main__":
    run_command(main)
