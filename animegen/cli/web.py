"""`animegen web`."""

from __future__ import annotations

from pathlib import Path

import click

from animegen.cli.console import print_json, say
from animegen.cli.options import ModelOptions, graphs_options, json_option, out_option


@click.command()
@out_option("site", "The folder to write.")
@click.option(
    "--runtime",
    type=click.Path(path_type=Path),
    help="A folder with the files of onnxruntime-web.  [default: fetched by npm]",
)
@click.option(
    "--webgpu/--no-webgpu",
    default=True,
    help="Bring the build for graphics cards too, 17 MB that only a browser with one loads.",
)
@click.option("--force", is_flag=True, help="Write into a folder that holds other things, which stay.")
@json_option
@graphs_options
def web(out: str, runtime: Path | None, webgpu: bool, force: bool, as_json: bool, options: list[ModelOptions]) -> None:
    """Write the page as a static folder, for any host of files: the model runs in the visitor's browser.

    Seeds name the same images as everywhere. Where npm isn't, --runtime takes the files that
    `npm pack onnxruntime-web` fetches elsewhere.

    \b
    Example: animegen web --out site/
             animegen web --model anime-face-64 --model anime-pixels-64 --out site/
    """
    from contextlib import ExitStack

    from animegen.deploy.site import check_site, write_site
    from animegen.model.catalog import find_model

    check_site(Path(out), force=force)
    with ExitStack() as stack:
        models = {find_model(one.model): stack.enter_context(one.load()) for one in options}
        say("runtime: onnxruntime-web " + (f"from {runtime}" if runtime else "by npm"))
        site = write_site(Path(out), models, runtime=runtime, webgpu=webgpu, force=force)
    if as_json:
        print_json(
            {
                "path": str(site.path),
                "models": site.models,
                "files": site.files,
                "bytes": site.bytes,
                "first_visit": site.first_visit,
            }
        )
        return
    visit = f"of which a visitor loads {site.first_visit / 1e6:.1f}"
    say(f"{out}: {', '.join(site.models)}, {site.bytes / 1e6:.1f} MB, {visit}")
    say(f"look at it: python -m http.server --directory {out}")
