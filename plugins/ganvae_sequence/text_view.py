"""Texts for people: .txt and .csv files, and a page of lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import final

import numpy as np
import pyarrow as pa
import pyarrow.csv
from PIL import Image, ImageDraw, ImageFont

from ganvae_core import DataSpec, Drawing, View
from ganvae_sequence.vocabulary import Vocabulary, is_text

MOST_LINES = 64
FONT_SIZE, LINE, MARGIN = 13, 18, 8
BLACK, GREY, WHITE = (0, 0, 0), (150, 150, 150), (255, 255, 255)
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

    def fits(self, spec: DataSpec) -> bool:
        """Whether rows are tokens of a vocabulary."""
        return is_text(spec)

    def describe(self, spec: DataSpec) -> str:
        """``up to 64 characters``."""
        return f"up to {spec.shape[0]} {Vocabulary.read(spec).unit}"

    def draw(self, drawing: Drawing, spec: DataSpec, path: Path) -> None:
        """A page of texts, with a gap after each path; originals, in grey, stand above their reconstructions."""
        vocabulary = Vocabulary.read(spec)
        most = max(drawing.columns, MOST_LINES - MOST_LINES % max(drawing.columns, 1))  # paths are whole
        lines = [(text, BLACK) for text in vocabulary.decode(drawing.rows[:most])]
        if drawing.originals is not None:
            originals = [(text, GREY) for text in vocabulary.decode(drawing.originals[:most])]
            lines = [line for pair in zip(originals, lines, strict=True) for line in pair][:MOST_LINES]
        import matplotlib

        font = ImageFont.truetype(
            str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSansMono.ttf")), FONT_SIZE
        )
        shown = [(text.replace("\n", "↵"), colour) for text, colour in lines]
        width = max(int(font.getlength(text)) for text, _ in shown)
        path_length = 0 if drawing.originals is not None else drawing.columns
        tops = [
            number * LINE + (number // path_length * LINE // 2 if path_length else 0)
            for number in range(len(shown))
        ]
        page = Image.new("RGB", (max(width, 200) + 2 * MARGIN, tops[-1] + LINE + 2 * MARGIN), WHITE)
        pen = ImageDraw.Draw(page)
        for top, (text, colour) in zip(tops, shown, strict=True):
            pen.text((MARGIN, MARGIN + top), text, colour, font)
        page.save(path, format="PNG")

    def write(self, rows: np.ndarray, spec: DataSpec, path: Path, further: Mapping[str, np.ndarray]) -> None:
        """A text a line, or a table with the texts in its first column."""
        texts = Vocabulary.read(spec).decode(rows)
        if path.suffix.lower() == ".csv":
            columns = {"text": texts}
            columns |= {name: values.tolist() for name, values in further.items()}
            pyarrow.csv.write_csv(pa.table(columns), path)
            return
        several = any("\n" in text for text in texts)
        path.write_text("".join(f"{text}\n{RULE}\n" if several else f"{text}\n" for text in texts), "utf-8")
