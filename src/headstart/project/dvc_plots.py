"""DVC's page of charts, such that it shows without a network."""

import importlib.metadata
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from headstart.core.artefacts import replacing
from headstart.core.errors import UserError
from headstart.project import dvc
from headstart.reporting.style import data_uri

# Where .dvc/plots/page.html looks for the libraries, seen from dvc_plots/index.html.
VEGA = ".headstart/vega.js"
PAGE = ".dvc/plots/page.html"
FOLDER = "dvc_plots"

_VEGA_LITE = "5.21"
# What page.html has in its head to load the libraries, with a way out where they are missing.
_LOADS_VEGA = re.compile(r"<!-- vega -->.*<!-- /vega -->", re.DOTALL)
_SCRIPT_ENDS = re.compile(r"<(/script|!--)", re.IGNORECASE)
_PICTURE = re.compile(r'src="(?!data:|https?:)([^"]+\.png)"')


def vega(root: Path) -> Path:
    """Returns the file with Vega, Vega-Lite and Vega-Embed, made from vl-convert if it is missing.

    DVC's own page loads the three from a server, and is empty without a network.
    """
    made_by = importlib.metadata.version("vl-convert-python")
    path = root / VEGA
    head = f"// Vega-Lite {_VEGA_LITE} from vl-convert {made_by}\n"
    if not (path.is_file() and path.open(encoding="utf-8").readline() == head):
        import vl_convert

        with replacing(path) as part:
            # In an HTML page, nothing in a script may look like its end or like a comment.
            code = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", _VEGA_LITE)
            part.write_text(head + _SCRIPT_ENDS.sub(r"<\\\1", code) + "\n", encoding="utf-8")
    return path


def page(root: Path, revs: Sequence[str] = ()) -> Path:
    """Writes `dvc plots diff REVS` as one file that needs nothing else, and returns its path.

    Without commits, branches, tags or experiments it shows the workspace against HEAD.

    Raises:
        UserError: DVC could not draw them, and what it said.
    """
    template = (root / PAGE).read_text(encoding="utf-8")
    code = vega(root).read_text(encoding="utf-8")
    whole = _LOADS_VEGA.sub(lambda _: f"<script>\n{code}</script>", template)
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        drawn = Path(folder) / FOLDER
        given = Path(folder) / "page.html"
        given.write_text(whole, encoding="utf-8")
        try:
            dvc.run(
                root, "plots", "diff", "--quiet", "--html-template", str(given),
                "--out", str(drawn), *revs,
            )  # fmt: skip
            drawing = (drawn / "index.html").read_text(encoding="utf-8")
        except (UserError, FileNotFoundError) as error:
            why = f" ({error})" if isinstance(error, UserError) else ""
            raise UserError(
                f"`dvc plots diff {' '.join(revs)}` drew nothing{why}; `git branch --all`, "
                "`git tag` and `dvc exp list` name what can be compared"
            ) from error
        text = _PICTURE.sub(
            lambda match: f'src="{data_uri((drawn / match[1]).read_bytes())}"', drawing
        )
    result = root / FOLDER / "index.html"
    with replacing(result) as part:
        part.write_text(text, encoding="utf-8")
    return result
