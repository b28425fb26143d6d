"""A number that cannot be one is a usage error, whichever option takes it."""

from __future__ import annotations

import re

import pytest

from support.verbs import options_of, verbs
from tokenkeep.cli import main

#: What stands for a number in the help, and the verbs' own numbers; all have --timeout.
NUMBERS = ("S", "TIME", "N", "NUMBER")
TAKING = [
    (verb, option.opts[0])
    for verb in ("", *verbs())
    for option in options_of(verb)
    if option.metavar in NUMBERS and option.opts[0] != "--scope"
]
OWN = {
    ("login", "--replay-window"),
    ("token", "--min-ttl"),
    ("vault unlock", "--for"),
    ("vault quarantine", "--restore"),
    ("vault quarantine", "--erase"),
    *((f"vault {verb}", "--pcr") for verb in ("create", "add-key", "replace-all")),
}


def test_every_option_that_takes_a_number_is_known() -> None:
    """The table below leaves none out."""
    assert OWN == {each for each in TAKING if each[1] != "--timeout"}
    assert len(TAKING) >= 40


@pytest.mark.parametrize("wrong", ["nan", "inf", "-inf", "-1", "1e999", "9" * 30, "soon", ""])
def test_what_is_no_number_is_said_before_anything_happens(
    wrong: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2, what it is about, and a hint; also where nothing waits for anything."""
    assert 0 == main.run(["vault", "create"])
    monkeypatch.setenv("TOKENKEEP_APP", "a")
    for name, value in {"ISSUER": "https://issuer.example", "CLIENT_ID": "notes"}.items():
        monkeypatch.setenv(f"TOKENKEEP_{name}", value)
    capfd.readouterr()
    for verb, option in TAKING:
        beside = {"--pcr": ["--tpm"], "--restore": [], "--erase": ["--yes"]}.get(option, [])
        words = [*verb.split(), *beside, f"{option}={wrong}"]
        code = main.run(words)
        out, err = capfd.readouterr()
        assert (2, "") == (code, out), (words, err)
        assert "error: " in err, words
        assert option[2:] in err.lower(), (words, err)
        assert "hint: " in err, (words, err)


@pytest.mark.parametrize("words", [["get", "x"], ["delete", "x"], ["list"], ["clear", "--yes"]])
def test_whoever_gives_no_time_is_told_to_give_some(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is a number of seconds, too: the call is over before it begins."""
    assert 0 == main.run(["vault", "create"])
    capfd.readouterr()
    assert 4 == main.run(["--app", "a", "--timeout", "0", *words])
    out, err = capfd.readouterr()
    assert "" == out
    assert re.fullmatch(r"error: [^\n]+ in time\nhint: tokenkeep --timeout SECONDS VERB\n", err)
