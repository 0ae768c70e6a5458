import json

import pytest

from scripts.demo import main
from scripts.demonstrating.figures import table
from scripts.demonstrating.g2d import G2D
from scripts.demonstrating.m3ae import M3AE


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_small_demo_from_nothing(tmp_path, capfd):
    arguments = [
        "--data",
        str(tmp_path / "phantoms"),
        "--runs",
        str(tmp_path / "runs"),
        "--count",
        "90",
        "--epochs",
        "2",
        "--steps",
        "3",
    ]
    assert main(arguments) == 0
    printed = capfd.readouterr().out
    assert all(title in printed for title, _ in G2D.rows)
    gathered = json.loads((tmp_path / "runs" / "demo" / "results.json").read_text())
    assert gathered["stage"] == "demo"
    assert {"retrieval_r5_image_to_text_over_chance", "retrieval_r5_text_to_image_over_chance"} <= set(
        gathered["metrics"]
    )
    assert {f"dice_pos_{start}" for start in ("random", "encoder", "encoder_decoder")} <= set(gathered["metrics"])
    assert {"zero_shot_auc_macro", "side_auc", "pointing_game", "pointing_game_prior"} <= set(gathered["metrics"])
    assert list((tmp_path / "runs" / "grounding" / "demo" / "pictures").glob("*.png"))
    assert list((tmp_path / "runs" / "pretrain" / "demo" / "pictures").glob("*.png"))
    assert main(arguments) == 0
    assert capfd.readouterr().out.count("is there already") == 9
    assert main([*arguments, "--method", "m3ae"]) == 0  # on the same phantoms and the same encoders
    printed = capfd.readouterr().out
    assert printed.count("is there already") == 3
    gathered = json.loads((tmp_path / "runs" / "demo_m3ae" / "results.json").read_text())
    assert {name for _, name in M3AE.rows} <= set(gathered["metrics"])
    assert list((tmp_path / "runs" / "pretrain" / "m3ae" / "pictures").glob("*.png"))


def test_a_failing_step_ends_the_demo_with_its_code(tmp_path):
    # an empty data list: packing refuses it
    data = tmp_path / "phantoms"
    data.mkdir()
    (data / "datalist.json").write_text("{}")
    assert main(["--data", str(data), "--runs", str(tmp_path / "runs")]) == 2
    assert not (tmp_path / "runs" / "demo").exists()


def test_the_table_shows_what_is_there(tmp_path):
    entries = {"pointing_game": {"value": 0.25, "low": 0.2, "high": 0.3}, "side_auc": {"value": 0.5, "low": None}}
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"metrics": entries | {"pointing_game_over_prior": {"value": None, "low": None}}}))
    lines = {line[:38].strip(): line[38:].split() for line in table(path, G2D.rows).splitlines()}
    assert lines["pointing game, no cardiomegaly"] == ["0.25", "0.2", "to", "0.3"]
    assert lines["left or right, AUC"] == ["0.5"]
    assert lines["over the prior"] == lines["nodule"] == ["-"]
