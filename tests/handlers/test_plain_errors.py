import sys

import pytest
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser
from monai.bundle.scripts import update_kwargs
from torch import nn

from bundle.data.errors import DataError
from bundle.handlers.plain_errors import UnknownConfigId, check_overrides, plain_cause, plain_errors
from bundle.networks.weights.transfer import transfer


def wrapped(error: BaseException) -> BaseException:
    """As MONAI wraps what an expression raises."""
    try:
        try:
            raise error
        except type(error) as inner:
            raise RuntimeError("Failed to evaluate ...") from inner
    except RuntimeError as outer:
        return outer


@pytest.fixture
def hook(monkeypatch):
    """The hook that `plain_errors` installs over one that is recorded."""
    fallen_through = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: fallen_through.append(error))
    plain_errors()
    return lambda error: sys.excepthook(type(error), error, None) or fallen_through


def test_own_errors_are_one_sentence(hook, capsys):
    assert hook(wrapped(DataError("x.json: item 'a': no image"))) == []
    assert capsys.readouterr().err == "error: x.json: item 'a': no image\n"


def test_a_refused_argument_is_one_sentence(hook, capsys):
    with pytest.raises(ValueError, match="no part 'neck'") as caught:
        transfer(nn.ModuleDict({"head": nn.Linear(1, 1)}), "weights.pth", ["neck"])
    assert hook(wrapped(caught.value)) == []
    assert capsys.readouterr().err == ("error: ModuleDict has no part 'neck' to load; give a list of some of head.\n")


def test_a_value_error_of_other_code_keeps_its_traceback(hook, capsys):
    with pytest.raises(ValueError, match="argument 2 is longer") as caught:
        list(zip([], [1], strict=True))
    assert len(hook(wrapped(caught.value))) == 1


def test_programming_errors_keep_their_traceback(hook, capsys):
    assert len(hook(wrapped(TypeError("no such argument")))) == 1
    assert capsys.readouterr().err == ""


def test_reference_to_an_unknown_id_is_one_sentence():
    with pytest.raises(Exception, match="learning_rat") as caught:
        ConfigParser({"lr": "$@learning_rat * 2"}).get_parsed_content("lr")
    assert "`@learning_rat` is not defined" in str(plain_cause(caught.value))


def command(repository, *options: str) -> list[str]:
    files = f"['{repository}/configs/pretrain.yaml','{repository}/configs/demo.yaml']"
    return ["run", "training", "--config_file", files, *options]


@pytest.mark.parametrize("name", ["max_epochs", "network_def#pool#heads", "train::trainer::max_epochs", "logging_file"])
def test_known_ids_pass(repository, name):
    check_overrides(command(repository, f"--{name}", "3"))


@pytest.mark.parametrize("option", ["--max_epoch", "--max_epoch=3"])
def test_unknown_override_is_refused_with_a_suggestion(repository, option):
    with pytest.raises(UnknownConfigId, match=r"no id 'max_epoch'; did you mean max_epochs"):
        check_overrides(command(repository, option, "3"))


@pytest.mark.parametrize("nothing", ["None", "null", "~"])
def test_an_option_that_is_to_be_nothing_is_not_left_out_in_silence(repository, nothing):
    with pytest.raises(ValueError, match=rf"--image_weights {nothing} would not be nothing: say '\$None'"):
        check_overrides(command(repository, "--image_weights", nothing))
    with pytest.raises(ValueError, match="would not be nothing"):
        check_overrides(command(repository, f"--pseudo_mask#edges={nothing}"))
    check_overrides(command(repository, "--image_weights", "$None", "--meta_file", nothing))


def test_the_runner_leaves_out_none_and_takes_the_expression():
    """Why it is refused, and that what is said instead helps; fails once MONAI takes None."""
    given = update_kwargs({"weights": "imagenet"}, weights=None)
    assert given == {"weights": "imagenet"}
    given = update_kwargs({"weights": "imagenet"}, weights=DefaultParseValue("$None"))
    assert ConfigParser(given).get_parsed_content("weights") is None
