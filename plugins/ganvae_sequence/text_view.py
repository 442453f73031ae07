"""Texts for people: .txt and .csv files, and a page of lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.csv
from PIL import Image, ImageDraw, ImageFont

from ganvae_core import DataSpec, Drawing, View
from ganvae_sequence.vocabulary import Vocabulary, is_text

MOST_LINES = 64
FONT_SIZE, LINE, MARGIN = 13, 18, 8
BLACK, GREY, WHITE = (0, 0, 0), (150, 150, 150), (255, 255, 255)
HIDDEN = "_"
"""Stands for a character that is hidden."""
RULE = "-" * 20
"""Stands between texts of several lines in a .txt file."""


@final
class TextView(View):
    """Texts: one a line, or with a rule between those of several lines."""

    noun = "texts"
    plugin = "text-vae"
    endings = (".txt", ".csv", ".png")
    shown = "draw"
    as_grid = True
    quantities = False
    along = 0

    def fits(self, spec: DataSpec) -> bool:
        """Whether rows are tokens of a vocabulary."""
        return is_text(spec)

    def describe(self, spec: DataSpec) -> str:
        """``up to 64 characters``."""
        return f"up to {spec.shape[0]} {Vocabulary.read(spec).unit}"

    def hidden(self, spec: DataSpec) -> float:
        """The token of ``HIDDEN``."""
        return float(Vocabulary.read(spec).encode([HIDDEN], 1)[0][0, 0])

    def draw(self, drawing: Drawing, spec: DataSpec, path: Path) -> None:
        """A page of texts, with a gap after each path; originals, in grey, stand above their reconstructions.

        Headings of a grid's columns stand before each text.
        """
        vocabulary, across = Vocabulary.read(spec), drawing.columns or len(drawing.headings)
        most = max(across, MOST_LINES - MOST_LINES % max(across, 1))  # paths are whole
        lines = [(text, BLACK) for text in vocabulary.decode(drawing.rows[:most])]
        if drawing.originals is not None:
            originals = [(text, GREY) for text in vocabulary.decode(drawing.originals[:most])]
            lines = [line for pair in zip(originals, lines, strict=True) for line in pair][:MOST_LINES]
        import matplotlib

        font = ImageFont.truetype(
            str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSansMono.ttf")), FONT_SIZE
        )
        path_length = 0 if drawing.originals is not None else across
        headings = [f"{each} " for each in drawing.headings] if path_length else []
        margin = MARGIN + max((int(font.getlength(each)) for each in headings), default=0)
        shown = [(text.replace("\n", "↵"), colour) for text, colour in lines]
        width = max(int(font.getlength(text)) for text, _ in shown)
        tops = [
            number * LINE + (number // path_length * LINE // 2 if path_length else 0)
            for number in range(len(shown))
        ]
        page = Image.new("RGB", (max(width, 200) + margin + MARGIN, tops[-1] + LINE + 2 * MARGIN), WHITE)
        pen = ImageDraw.Draw(page)
        for number, (top, (text, colour)) in enumerate(zip(tops, shown, strict=True)):
            pen.text((margin, MARGIN + top), text, colour, font)
            if headings:
                pen.text((MARGIN, MARGIN + top), headings[number % across], GREY, font)
        page.save(path, format="PNG")

    def write(self, rows: np.ndarray, spec: DataSpec, path: Path, further: Mapping[str, np.ndarray]) -> None:
        """A text a line, or a table with the texts in its first column."""
        texts = Vocabulary.read(spec).decode(rows)
        if path.suffix.lower() == ".csv":
            columns: dict[str, Any] = {"text": texts}
            columns |= {
                name: pa.array(values, from_pandas=True)
                for name, values in further.items()
                if values.ndim == 1
            }
            pyarrow.csv.write_csv(pa.table(columns), path)
            return
        several = any("\n" in text for text in texts)
        path.write_text("".join(f"{text}\n{RULE}\n" if several else f"{text}\n" for text in texts), "utf-8")
