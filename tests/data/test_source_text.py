"""Texts: what is a row, where it ends, which characters there are, and the way back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ganvae_sequence.text_networks import Tokens
from ganvae_sequence.text_view import TextView
from ganvae_sequence.texts import Text
from ganvae_sequence.vocabulary import Vocabulary

import ganvae_core as gv


@pytest.fixture
def lines(tmp_path: Path) -> str:
    path = tmp_path / "lines.txt"
    path.write_text("Fair is foul,\n\nund fül ist schön.\n", encoding="utf-8")
    return str(path)


def texts(source: Text) -> list[str]:
    return Vocabulary.read(source.spec).decode(source.rows(slice(None)).x)


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_lines_come_back_and_the_mask_reaches_to_their_end(lines: str, unit: str) -> None:
    source = Text(path=lines, length=24, unit=unit)  # pyright: ignore[reportArgumentType]
    assert texts(source) == ["Fair is foul,", "und fül ist schön."]
    mask = source.rows(slice(None)).mask
    assert mask is not None
    assert mask.sum(1).tolist() == [14, 19 if unit == "characters" else 21]
    assert "1 empty lines are left out" in source.notes


def test_a_longer_line_is_cut_and_its_end_is_not_observed(lines: str) -> None:
    source = Text(path=lines, length=8)
    assert texts(source) == ["Fair is ", "und fül "]
    assert source.rows(slice(None)).mask is None
    assert any("2 of 2 texts are cut after 8 characters" in note for note in source.notes)


def test_windows_of_one_long_text_overlap_by_the_stride(lines: str) -> None:
    assert texts(Text(path=lines, window=10, stride=5))[:3] == ["Fair is fo", "is foul,\n\n", "ul,\n\nund f"]


def test_no_held_out_window_of_a_text_overlaps_one_of_training(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("".join(chr(0x4E00 + at) for at in range(400)), encoding="utf-8")
    source = Text(path=str(path), window=4, stride=1)
    found = gv.split(source)
    tokens = [set(source.rows(part).x.ravel().tolist()) for part in (found.training, found.held_out)]
    assert tokens[1]
    assert not tokens[0] & tokens[1]


def test_other_texts_are_read_with_the_vocabulary_of_training(lines: str, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("ñandú fühlt", encoding="utf-8")
    trained = Text(path=lines).spec
    source = Text(trained, path=str(other))
    assert source.spec.details == trained.details
    assert texts(source) == ["\ufffdand\ufffd fühlt"]


def test_bytes_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("schön".encode("latin-1"))
    with pytest.raises(gv.DataError, match=r"not text in UTF-8: byte 3 is 0xf6"):
        Text(path=str(path))


def test_cells_of_a_column_have_the_label_of_their_row(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text('by,said\nyou,"yes, so"\nme,no\n')
    source = Text(path=str(path), column="said", label="by")
    assert (texts(source), source.spec.classes) == (["yes, so", "no"], ("me", "you"))
    assert np.array_equal(source.rows(np.array([0, 1])).labels, [1, 0])  # pyright: ignore[reportArgumentType]


def test_lines_are_read_for_a_model_of_cells(tmp_path: Path) -> None:
    (tmp_path / "cells.csv").write_text("by,said\nme,yes\nyou,no\n")
    (tmp_path / "lines.txt").write_text("so, now\n")
    trained = Text(path=str(tmp_path / "cells.csv"), column="said", label="by").spec
    lines = Text(trained, path=str(tmp_path / "lines.txt"), column="said", label="by")
    assert (texts(lines), lines.spec.classes) == (["so, now"], None)
    (tmp_path / "cells.csv").rename(tmp_path / "cells.txt")
    again = Text(trained, path=str(tmp_path / "cells.txt"), column="said", label="by")
    assert (texts(again), again.spec.classes) == (["yes", "no"], ("me", "you"))


def test_cells_and_labels_are_kept_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("code,note\n007,1.50\n1e2,\n007,true\n", encoding="utf-8")
    source = Text(path=str(path), column="note", label="code")
    assert (texts(source), source.spec.classes) == (["1.50", "true"], ("007", "1e2"))
    assert source.labels(None).tolist() == [0, 0]  # pyright: ignore[reportOptionalMemberAccess]
    assert "1 rows without a text are left out" in source.notes
    path.write_text("kind,note\n1,a\n2,b\n", encoding="utf-8")
    assert Text(path=str(path), column="note", label="kind").spec.class_type == "int"
    path.write_text("by,said\n" + "me,yes\nyou,no\n" * 8, encoding="utf-8")
    assert len(texts(Text(path=str(path), column="said", label="by"))) == 16
    path.write_text("by,said\n" + "me,by\nyou,said\n" * 8, encoding="utf-8")
    assert len(texts(Text(path=str(path), column="said", label="by"))) == 16
    path.write_text("kind,note\na,x\n,y\n", encoding="utf-8")
    with pytest.raises(gv.DataError, match=r"column 'kind', row 2 has no value, and it is the label"):
        Text(path=str(path), column="note", label="kind")


def test_probabilities_of_whole_texts_add_up_to_one() -> None:
    """Over every text of three tokens out of five, those that end early among them."""
    spec = gv.DataSpec((3,), (0.0, 4.0), "text", details={"unit": "characters", "others": []})
    observation = Tokens(spec, width=6)
    observation.unit = type(observation.unit)(5, 6)  # pyright: ignore
    every = torch.cartesian_prod(*[torch.arange(5.0)] * 3)
    with torch.no_grad():
        total = observation(torch.randn(1, 6).expand(len(every), 6)).log_prob(every).exp().sum()
    torch.testing.assert_close(total, torch.tensor(1.0))


def test_a_file_has_a_text_a_line_or_rules_between_texts_of_several_lines(lines: str, tmp_path: Path) -> None:
    source, path = Text(path=lines, length=24), tmp_path / "new.txt"
    TextView().write(source.rows(slice(None)).x, source.spec, path, {})
    assert path.read_text("utf-8") == "Fair is foul,\nund fül ist schön.\n"
    source = Text(path=lines, window=15)
    TextView().write(source.rows(slice(0, 1)).x, source.spec, path, {})
    assert path.read_text("utf-8") == "Fair is foul,\n\n\n--------------------\n"


def test_many_originals_stand_above_their_reconstructions(lines: str, tmp_path: Path) -> None:
    source, path = Text(path=lines, length=24), tmp_path / "page.png"
    rows = source.rows(np.zeros(70, int)).x
    TextView().draw(gv.Drawing(rows, "reconstructions", originals=rows, columns=3), source.spec, path)
    assert path.stat().st_size


def test_the_text_of_a_code_is_drawn_with_noise_that_all_codes_share() -> None:
    spec = gv.DataSpec((12,), (0.0, 98.0), "text", details={"unit": "characters", "others": []})
    torch.manual_seed(0)
    state = Tokens(spec, width=8).state_dict()
    drawn, probable = Tokens(spec, width=8, temperature=1.0), Tokens(spec, width=8, temperature=0.0)
    for each in (drawn, probable):
        each.load_state_dict(state)
    code = torch.randn(1, 8)
    with torch.no_grad():
        twice = drawn(code.expand(2, 8)).mean
        assert torch.equal(twice[0], twice[1])
        assert not torch.equal(twice[0], drawn(code + 3).mean[0])
        first = drawn.unit(torch.tensor([[drawn.unit.beginning]]), code, drawn.unit.state(code))[0][0, 0]  # pyright: ignore
        assert probable(code).mean[0, 0] == first.argmax()
        assert drawn(code).mean[0, 0] == (first + drawn.noise[0]).argmax()
        assert drawn.noise.mean() == pytest.approx(0.577, abs=0.1)  # Gumbel's


def test_frequent_words_are_tokens_and_others_are_spelled(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    written = ["the sea, the sea", "the sea is the sea", "The Sea's übel_x"]
    path.write_text("\n".join(written), encoding="utf-8")
    source = Text(path=str(path), unit="words")
    vocabulary = Vocabulary.read(source.spec)
    assert texts(source) == written
    assert vocabulary.words == (" sea",)  # the others occur once or twice
    rows = source.rows(slice(None))
    assert rows.mask is not None
    assert rows.mask[0].sum() == len("the") + 1 + len(", the") + 1 + 1
    widths = np.array(vocabulary.widths)
    assert (widths[rows.x] * rows.mask).sum(1).tolist() == [len(text) + 1 for text in written]
    assert (
        "2 of 3 texts are cut after 10 tokens:  data.length="
        in Text(path=str(path), unit="words", length=10).notes
    )


def test_missing_characters_are_drawn_between_those_that_are_there(lines: str) -> None:
    source = Text(path=lines, length=24)
    observation = Tokens(source.spec, width=8)
    torch.manual_seed(0)
    observation.unit.output.bias.data[0] = 9.0  # pyright: ignore  # texts would end at once
    x = torch.as_tensor(source.rows(slice(None)).x).float()
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, 5:8] = False
    filled = observation(torch.randn(2, 8)).filled(x, mask)  # pyright: ignore
    assert torch.equal(filled[mask], x[mask])
    assert (filled[:, 5:8] > 0).all()
    mask[:, 5:] = False
    assert (observation(torch.randn(2, 8)).filled(x, mask)[:, 5:] == 0).float().mean() > 0.9  # pyright: ignore


def test_the_text_of_a_code_has_whole_words(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("the sea and the sea,\n" * 3, encoding="utf-8")
    source = Text(path=str(path), unit="words")
    torch.manual_seed(0)
    observation = Tokens(source.spec, width=8)
    with torch.no_grad():
        made = observation(torch.randn(200, 8)).mean
    letters = torch.tensor(
        [1 + at for at, each in enumerate(Vocabulary.read(source.spec).characters) if each.isalpha()]
    )
    assert not torch.isin(made, letters).any()
    assert len(set(Vocabulary.read(source.spec).decode(made.numpy()))) > 1
