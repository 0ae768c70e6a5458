"""The folder that an annotation server works in."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.data.errors import DataError
from scripts.label_server import main
from scripts.labelling.workspace import ROOT, prepare_workspace


def weights(folder: Path, content: bytes = b"weights") -> Path:
    path = folder / "first.pt"
    path.write_bytes(content)
    return path


def test_it_holds_the_bundle_and_a_copy_of_the_weights(tmp_path: Path) -> None:
    bundle = prepare_workspace(tmp_path / "work", "cxr_segmentation", weights(tmp_path))
    assert bundle == tmp_path / "work" / "model" / "cxr_segmentation"
    assert (bundle / "configs" / "train.json").samefile(ROOT / "configs" / "train.json")
    assert (bundle / "bundle").samefile(ROOT / "bundle")
    assert (bundle / "models" / "model.pt").read_bytes() == b"weights"
    assert not (bundle / "models" / "model.pt").is_symlink()
    main_py = (tmp_path / "work" / "main.py").read_text(encoding="utf-8")
    compile(main_py, "main.py", "exec")
    assert '/ "model" / "cxr_segmentation"' in main_py


def test_fine_tuned_weights_stay_when_it_is_prepared_again(tmp_path: Path) -> None:
    bundle = prepare_workspace(tmp_path / "work", "cxr_segmentation", weights(tmp_path))
    (bundle / "models" / "model.pt").write_bytes(b"better")
    prepare_workspace(tmp_path / "work", "cxr_segmentation", tmp_path / "gone.pt")
    assert (bundle / "models" / "model.pt").read_bytes() == b"better"


def test_a_new_one_needs_weights(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.pt: no such weights; .* --weights"):
        prepare_workspace(tmp_path / "work", "cxr_segmentation", tmp_path / "gone.pt")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("name", ["cxr_detection", "DeepEdit", "a/b", ""])
def test_names_that_mean_another_kind_of_model_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"--name {name}"):
        prepare_workspace(tmp_path / "work", name, weights(tmp_path))


def test_command_without_monai_label_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--studies", str(tmp_path)]) == 2
    assert "make label-server" in capsys.readouterr().err
