from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from scripts.table import main
from scripts.tabulating.efficiency import efficiency_lines
from scripts.tabulating.runs import TableError, find_runs

PRETRAINED = "runs/pretrain/g2d/models/encoder_decoder.safetensors"


def entry(value: float | None, n: int | None = 20, deviation: float | None = None) -> dict[str, Any]:
    low, high = (None, None) if value is None or n is None else (value - 0.05, value + 0.04)
    found = {"value": value, "low": low, "high": high, "n": n}
    return found if deviation is None else found | {"deviation": deviation, "per_seed": [value]}


def write_run(folder: Path, metrics: dict[str, Any], config: dict[str, Any] | None = None, **facts: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    results = {"stage": "segmentation", "list": "siim", "list_sha256": "ab" * 32, "protocol": "p", "seeds": [0]}
    (folder / "results.json").write_text(json.dumps({**results, "git": None, "metrics": metrics, **facts}))
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three starts at two fractions; one over seeds, whose own folders lie in it."""
    root = tmp_path / "runs"
    for fraction, base in ((1, 0.3), (10, 0.5)):
        for name, start, parts, more in (
            ("random", None, [], 0.0),
            ("encoder", PRETRAINED, ["image_encoder"], 0.1),
            ("both", PRETRAINED, ["image_encoder", "decoder"], 0.2),
        ):
            config = {"name": f"{name}_{fraction}", "fraction": fraction, "start": start, "start_parts": parts}
            metrics = {
                "dice_pos": entry(base + more, deviation=0.01),
                "dice_empty": entry(0.78),
                "hd95_mm": entry(9 - more),
            }
            folder = write_run(root / "segmentation" / config["name"], metrics, config, seeds=[0, 1])
            for seed in (0, 1):
                write_run(folder / f"seed_{seed}", metrics, config | {"seeds": [seed]}, seeds=[seed])
    return root


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_table_says_what_was_measured_and_how_sure_it_is(runs: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(runs), "--metrics", "dice_pos,hd95_mm"]) == 0
    head, _, *body = rows(capsys.readouterr().out)
    assert head == ["run", "start", "fraction", "list", "protocol", "seeds", "dice_pos", "hd95_mm"]
    table = {row[0]: row[1:] for row in body}
    assert len(table) == len(body) == 6  # the folders of single seeds are left out
    assert table["encoder_1"] == [
        *("g2d: encoder", "1", "siim", "p", "0, 1"),
        *("0.400 [0.350, 0.440] ± 0.010, n 20", "8.900 [8.850, 8.940], n 20"),
    ]
    assert table["random_10"][0] == "random"


def test_the_best_of_equal_lists_is_bold_and_small_distances_are_good(
    runs: Path, capsys: pytest.CaptureFixture
) -> None:
    write_run(runs / "other", {"dice_pos": entry(0.99)}, list_sha256="cd" * 32)
    assert main([str(runs)]) == 0
    head, _, *body = rows(capsys.readouterr().out)
    bold = {(row[0], head[place]) for row in body for place, cell in enumerate(row) if "**" in cell}
    # The empty mask's Dice tells of the list, not of a run; and `other` has no rival on its list.
    assert bold == {("both_10", "dice_pos"), ("both_1", "hd95_mm"), ("both_10", "hd95_mm")}


def test_figures_of_different_lists_are_told_apart_by_a_footnote(runs: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(runs)]) == 0
    assert "not comparable" not in capsys.readouterr().out
    write_run(runs / "other", {"dice_pos": entry(0.99)}, list_sha256="cd" * 32)
    write_run(runs / "third", {"dice_pos": entry(0.98)}, protocol="q | r")
    assert main([str(runs), "--metrics", "dice_pos"]) == 0
    text = capsys.readouterr().out
    lists = {row[0]: row[3] for row in rows(text)[2:]}
    assert lists["both_1"] == "siim (2)"
    assert lists["other"] == "siim (1)"
    assert lists["third"] == "siim (3)"
    assert "not comparable" in text
    assert "- (1) segmentation on siim, sha256 cdcdcdcdcdcd, protocol p\n" in text
    assert "- (3) segmentation on siim, sha256 abababababab, protocol q \\| r\n" in text


def test_a_metric_that_a_run_lacks_leaves_its_cell_empty(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_run(tmp_path / "a", {"auc_macro": entry(0.8), "rank": entry(3.0, n=None)})
    write_run(tmp_path / "b", {"auc_macro": entry(None)})
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "--metrics", "auc_macro,rank"]) == 0
    text = capsys.readouterr().out
    assert "p | 0 | 0.800 [0.750, 0.840], n 20 | 3.000 |\n" in text
    assert "p | 0 |  |  |\n" in text
    assert "**" not in text  # one value is not the best of anything


def test_csv_has_all_digits(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(runs), "--metrics", "dice_pos", "--csv", str(tmp_path / "t" / "table.csv")]) == 0
    with open(tmp_path / "t" / "table.csv", newline="") as file:
        table = {row["run"]: row for row in csv.DictReader(file)}
    row = table["both_1"]
    assert float(row["dice_pos"]) == 0.3 + 0.2
    assert float(row["dice_pos_low"]) == 0.5 - 0.05
    assert (row["dice_pos_deviation"], row["dice_pos_n"], row["seeds"]) == ("0.01", "20", "0 1")
    assert (row["list_sha256"], row["fraction"], row["start"]) == ("ab" * 32, "1.0", "g2d: encoder + decoder")


def test_the_table_goes_to_a_file(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(runs), "--markdown", str(tmp_path / "table.md")]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "table.md").read_text().startswith("| run | start | fraction | list |")


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for folder in ("a", "b"):
        write_run(tmp_path / folder / "x", {"dice_pos": entry(0.5)}, {"name": "x"})
    assert main([str(tmp_path)]) == 0
    assert [row[0] for row in rows(capsys.readouterr().out)[2:]] == [str(tmp_path / "a/x"), str(tmp_path / "b/x")]


def test_a_run_named_twice_is_one_row(runs: Path) -> None:
    assert len(find_runs([runs, runs / "segmentation", runs / "segmentation" / "both_1"])) == 6


def test_seeds_of_a_run_that_has_not_gathered_them_are_rows(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / "x" / f"seed_{seed}", {"dice_pos": entry(0.5)}, seeds=[seed])
    assert [run.folder.name for run in find_runs([tmp_path])] == ["seed_0", "seed_1"]
    write_run(tmp_path / "x", {"dice_pos": entry(0.5)}, seeds=[0])  # an earlier run of one seed in the same folder
    assert [run.folder.name for run in find_runs([tmp_path / "x" / "seed_1", tmp_path / "x"])] == ["seed_1", "x"]


def test_starts_are_named_after_the_weights(tmp_path: Path) -> None:
    starts = {
        "random": {"start": None, "start_parts": ["image_encoder"]},
        "imagenet": {"start": None, "image_weights": "imagenet"},
        "g2d: encoder + decoder": {"start": PRETRAINED, "start_parts": ["image_encoder", "decoder"]},
        "mgca: encoder": {"start": "weights/mgca.ckpt", "start_parts": ["image_encoder"]},
    }
    for number, config in enumerate(starts.values()):
        write_run(tmp_path / str(number), {}, config)
    assert [run.start for run in find_runs([tmp_path])] == list(starts)


def test_a_line_for_each_start_by_rising_fraction(runs: Path) -> None:
    lines = efficiency_lines(find_runs([runs]), "dice_pos", "fraction")
    places = {name: [(x, point["value"]) for x, point in points] for name, points in lines.items()}
    assert places == {
        "g2d: encoder": [(1, 0.3 + 0.1), (10, 0.5 + 0.1)],
        "g2d: encoder + decoder": [(1, 0.3 + 0.2), (10, 0.5 + 0.2)],
        "random": [(1, 0.3), (10, 0.5)],
    }


def test_lines_of_different_lists_are_not_joined(runs: Path) -> None:
    write_run(runs / "other", {"dice_pos": entry(0.99)}, {"fraction": 10}, list_sha256="cd" * 32)
    lines = efficiency_lines(find_runs([runs]), "dice_pos", "fraction")
    assert [len(points) for points in lines.values()] == [2, 2, 2, 1]
    assert "random (segmentation, siim cdcdcd, p)" in lines


def test_the_plot_is_drawn(runs: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    assert main([str(runs), "--metrics", "dice_pos", "--plot", str(tmp_path / "plot.png")]) == 0
    assert cv2.imread(str(tmp_path / "plot.png")).shape == (825, 1050, 3)
    assert [str(warning.message) for warning in recwarn] == []


def test_another_number_can_be_the_axis(tmp_path: Path) -> None:
    for count in (4, 16):
        write_run(tmp_path / str(count), {"dice_pos": entry(0.5)}, {"labels": count})
    assert list(efficiency_lines(find_runs([tmp_path]), "dice_pos", "labels")) == ["random"]
    with pytest.raises(TableError, match=r"/16: neither results\.json nor config\.yaml has a number 'fraction'"):
        efficiency_lines(find_runs([tmp_path]), "dice_pos", "fraction")


def test_two_runs_at_one_point_are_refused(runs: Path) -> None:
    write_run(runs / "twin", {"dice_pos": entry(0.4)}, {"fraction": 10})
    with pytest.raises(TableError, match=r"random_10 and .*twin have the same start and fraction: plot one of them"):
        efficiency_lines(find_runs([runs]), "dice_pos", "fraction")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{torn", "not readable as JSON"),
        ("[1]", "'stage' is missing"),
        ('{"stage": "s", "list": "l", "list_sha256": "a", "protocol": "p", "seeds": 0, "metrics": {}}', "'seeds' is"),
        (
            '{"stage": "s", "list": "l", "list_sha256": "a", "protocol": "p", "seeds": [0], "metrics": {"x": 1}}',
            "metric 'x' lacks value",
        ),
    ],
)
def test_a_wrong_file_is_named_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture, content: str, said: str
) -> None:
    (tmp_path / "results.json").write_text(content)
    assert main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'results.json'}: ")
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("config", ["a: [", "- x", "\x00"])
def test_a_wrong_config_is_named(tmp_path: Path, capsys: pytest.CaptureFixture, config: str) -> None:
    write_run(tmp_path, {"dice_pos": entry(0.5)})
    (tmp_path / "config.yaml").write_text(config)
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'config.yaml'}: ")


def test_what_is_not_there_is_named(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "empty").mkdir()
    cases = {
        ("nowhere",): "nowhere: there is no such folder",
        (str(tmp_path / "empty"),): "there is no results.json in it or below",
        (str(runs), "--metrics", "dice"): "no run has a metric 'dice'; there are dice_empty, dice_pos, hd95_mm",
        (str(runs), "--plot", "plot.doc"): "plot.doc: pictures cannot be written with this ending",
    }
    for arguments, said in cases.items():
        assert main(list(arguments)) == 2
        assert said in capsys.readouterr().err


def test_an_evaluation_starts_from_what_it_evaluates_and_controls_win_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("a", 0.3), ("b", 0.2)):
        metrics = {
            "pointing_game": entry(value),
            "pointing_game_prior": entry(value / 2),
            "pointing_game_over_prior": entry(2 + value),
        }
        write_run(tmp_path / name, metrics, {"name": name, "pretrained": f"runs/pretrain/{name}_30"}, stage="grounding")
    names = ["pointing_game", "pointing_game_prior", "pointing_game_over_prior"]
    assert main([str(tmp_path), "--metrics", ",".join(names)]) == 0
    first, second = rows(capsys.readouterr().out)[-2:]
    assert (first[1], second[1]) == ("a_30", "b_30")
    assert [cell.startswith("**") for cell in first[-3:]] == [True, False, True]
    assert not any("**" in cell for cell in second)
