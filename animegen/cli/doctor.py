"""`animegen doctor`."""

from __future__ import annotations

import click

from animegen.cli.console import print_json
from animegen.runtime import DEVICES, Device


@click.command()
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    help="What must work: with auto, CUDA must where an ONNX Runtime with CUDA is installed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.pass_context
def doctor(ctx: click.Context, device: Device, as_json: bool) -> None:
    """Try what of this installation works, and say what to do about the rest. Exit status 1 if there is a fault.

    \b
    Example: animegen doctor --device cuda
    """
    from animegen.checks.doctor import examine
    from animegen.runtime import wheels

    wheels.silence()
    faults = 0
    findings = {}
    for finding in examine(device):
        faults += finding.state == "fault"
        findings[finding.name] = {"state": finding.state, "text": finding.text}
        if not as_json:
            click.echo(f"{finding.state.upper() if finding.state == 'fault' else finding.state:7} "
                       f"{finding.name}: {finding.text}")  # fmt: skip
    if as_json:
        print_json({"faults": faults, "findings": findings})
    ctx.exit(1 if faults else 0)
