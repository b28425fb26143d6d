"""Flag, environment, file: what wins, what is damaged, and what survives an edit."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep import config, config_edit
from tokenkeep.backends.kernel_keyring import KernelKeyringOptions
from tokenkeep.errors import (
    StoreUnavailable,
    TokenkeepError,
    UnsupportedOption,
)
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase

KEYS = ("app", "store", "key_file", "passphrase_file")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "config.toml"


def write(file: Path, text: str | bytes) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_nothing_said_is_auto_and_nothing(file: Path) -> None:
    """A missing file is an empty one."""
    found = config.load(environ={}, path=str(file))
    assert (None, "auto", None, None) == tuple(getattr(found, key) for key in KEYS)
    assert str(file) == found.path
    assert not file.exists()


@pytest.mark.parametrize("key", ["app", "store", "key_file", "passphrase_file"])
@pytest.mark.requires("POSIX paths")
def test_flag_then_environment_then_file(file: Path, key: str) -> None:
    """Each place hides the lesser ones."""
    write(file, f'{key} = "/in/file"\n')
    environ = {f"TOKENKEEP_{key.upper()}": "/in/environment"}
    flag = {key: "/in/flag"}
    path = str(file)
    assert "/in/flag" == getattr(config.load(environ=environ, path=path, **flag), key)
    assert "/in/environment" == getattr(config.load(environ=environ, path=path), key)
    assert "/in/file" == getattr(config.load(environ={}, path=path), key)


def test_explicit_auto_hides_a_lesser_choice(file: Path) -> None:
    """`--store auto` means it."""
    write(file, 'store = "vault"\n')
    assert "auto" == config.load(store="auto", environ={}, path=str(file)).store
    assert "auto" == config.load(environ={"TOKENKEEP_STORE": "auto"}, path=str(file)).store


def test_empty_counts_as_unset(file: Path) -> None:
    """`TOKENKEEP_APP=` does not hide the file."""
    write(file, 'app = "org.example"\nstore = ""\n')
    found = config.load(environ={"TOKENKEEP_APP": ""}, path=str(file))
    assert ("org.example", "auto") == (found.app, found.store)


def test_default_place_is_the_users_configuration_directory(home: Path) -> None:
    """`config.toml` in it."""
    assert config.default_path() == config.load(environ={}).path
    assert config.default_path().startswith(str(home))


def test_key_file_in_one_place_hides_a_passphrase_file_in_a_lesser_one(file: Path) -> None:
    """What opens the vault is one choice."""
    write(file, 'passphrase_file = "/p"\n')
    found = config.load(environ={"TOKENKEEP_KEY_FILE": "/k"}, path=str(file))
    assert ("/k", None) == (found.key_file, found.passphrase_file)
    found = config.load(passphrase_file="/q", environ={"TOKENKEEP_KEY_FILE": "/k"}, path=str(file))
    assert (None, "/q") == (found.key_file, found.passphrase_file)


@pytest.mark.parametrize("place", ["flags", "environment", "file"])
def test_both_in_one_place_is_an_error(file: Path, place: str) -> None:
    """Neither is chosen silently."""
    flags, environ = {}, {}
    if place == "flags":
        flags = {"key_file": "k", "passphrase_file": "p"}
    elif place == "environment":
        environ = {"TOKENKEEP_KEY_FILE": "k", "TOKENKEEP_PASSPHRASE_FILE": "p"}
    else:
        write(file, 'key_file = "k"\npassphrase_file = "p"\n')
    with pytest.raises(UnsupportedOption, match="both a key file and a passphrase file"):
        config.load(environ=environ, path=str(file), **flags)


@pytest.mark.requires("POSIX paths")
def test_relative_paths_in_the_file_start_beside_it(file: Path, home: Path) -> None:
    """In flags and variables they start where the command runs."""
    write(file, 'key_file = "keys/k"\nstore = "vault:my vault"\n')
    found = config.load(environ={}, path=str(file))
    assert str(file.parent / "keys/k") == found.key_file
    assert f"vault:{file.parent / 'my vault'}" == found.store
    assert "keys/k" == config.load(key_file="keys/k", environ={}, path=str(file)).key_file
    found = config.load(environ={"TOKENKEEP_KEY_FILE": "k"}, store="vault:v", path=str(file))
    assert ("k", "vault:v") == (found.key_file, found.store)


def test_what_an_unset_variable_makes_of_a_store_is_none(file: Path) -> None:
    """It must not be the default vault, or the configured store, that nobody meant."""
    write(file, 'store = "kernel-keyring"\n')
    for words in ("", "vault:"):
        with pytest.raises(UnsupportedOption, match=r"no store is named|flags: no path"):
            config.load(store=words, environ={}, path=str(file))
    with pytest.raises(UnsupportedOption, match="environment: no path behind vault:"):
        config.load(environ={"TOKENKEEP_STORE": "vault:"}, path=str(file))
    assert "kernel-keyring" == config.load(environ={"TOKENKEEP_STORE": ""}, path=str(file)).store
    write(file, 'store = "vault:"\n')
    with pytest.raises(UnsupportedOption) as caught:
        config.load(environ={}, path=str(file))
    assert f"{file}: no path behind vault:" == str(caught.value)


@pytest.mark.requires("POSIX paths")
@pytest.mark.parametrize("place", ["flags", "environment", "file"])
@pytest.mark.parametrize("key", ["key_file", "passphrase_file"])
def test_tilde_is_the_person_s_home_everywhere(
    file: Path, home: Path, place: str, key: str
) -> None:
    """No shell expands it behind `vault:`, nor in a service's variables."""

    def load(said: dict[str, str]) -> config.Config:
        variables = {f"TOKENKEEP_{name.upper()}": value for name, value in said.items()}
        if place == "file":
            write(file, "".join(f'{name} = "{value}"\n' for name, value in said.items()))
        return config.load(
            environ=variables if place == "environment" else {},
            path=str(file),
            **(said if place == "flags" else {}),
        )

    found = load({"store": "vault:~/v", key: "~/k"})
    assert (f"vault:{home}/v", f"{home}/k") == (found.store, getattr(found, key))
    for wrong in ({"store": "vault:~nobody-here/v"}, {key: "~nobody-here/k"}):
        with pytest.raises(UnsupportedOption, match="no such home directory") as caught:
            load(wrong)
        assert "give the whole path" == caught.value.hint


@pytest.mark.parametrize(
    ("text", "line", "name"),
    [
        ('app = "a"\nkey-file = "k"\n', 2, "key-file"),
        ('stroe = "memory"\n', 1, "stroe"),
        ('app = "a"\nfuture = 3\n', 2, "future"),
        ('app = "a"\n\n[default]\nstore = "vault"\n', 3, "default"),
    ],
)
def test_a_mistyped_entry_is_an_error_and_never_ignored(
    file: Path, text: str, line: int, name: str
) -> None:
    """What was meant to choose a store or a key would silently choose another."""
    write(file, text)
    with pytest.raises(UnsupportedOption) as caught:
        config.load(environ={}, path=str(file))
    assert f"{file}, line {line}: there is no entry of the name {name!r}" == str(caught.value)
    assert "the names are app, store, key_file, passphrase_file" == caught.value.hint


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("app", 1),
        ("app = ", 1),
        ("app = org.example", 1),
        ("\n\napp = 'x\n", 3),
        ('app = "x" y', 1),
        ('app = "a"\napp = "b"', 2),
        ('app = "\\q"', 1),
        ("[table\n", 1),
        ("app = 3\n", 1),
        ("# c\nstore = true", 2),
        ("key_file = ['a']", 1),
        ("passphrase_file = 2020-01-01", 1),
        ("[app]\nx=1", 1),
        (b'app = "a"\nstore = "\xff"\n', 2),
        (b"\x00\x01\x02", 1),
        (b'\xef\xbb\xbfapp = "a"', 1),
        ("<html>", 1),
    ],
)
def test_damaged_file_is_an_error_with_its_line(file: Path, text: str | bytes, line: int) -> None:
    """Never an absent file: what it chose must not be replaced by a default."""
    write(file, text)
    with pytest.raises(UnsupportedOption) as caught:
        config.load(environ={}, path=str(file))
    assert str(file) in str(caught.value)
    if "[app]" not in str(text):  # the place of a table of that name is not looked for
        assert f"line {line}" in str(caught.value)
    assert caught.value.hint


def test_deeply_nested_file_is_damaged(file: Path) -> None:
    """The parser's recursion is not the caller's problem."""
    write(file, "x = " + "[" * 5000)
    with pytest.raises(UnsupportedOption, match="damaged"):
        config.load(environ={}, path=str(file))


def test_huge_file_is_refused(file: Path) -> None:
    """Reading is bounded."""
    write(file, b"#" * (config.MAX_FILE_BYTES + 1))
    with pytest.raises(UnsupportedOption, match="too large"):
        config.load(environ={}, path=str(file))


def test_directory_in_its_place_is_refused(file: Path) -> None:
    """It is no configuration."""
    file.mkdir(parents=True)
    with pytest.raises(UnsupportedOption, match="directory"):
        config.load(environ={}, path=str(file))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe_in_its_place_is_refused_at_once(file: Path) -> None:
    """Opening it in the ordinary way would wait for a writer for ever."""
    file.parent.mkdir()
    os.mkfifo(file)
    with pytest.raises(UnsupportedOption, match="is not a regular file") as caught:
        config.load(environ={}, path=str(file))
    assert f"remove {file}" == caught.value.hint
    with pytest.raises(UnsupportedOption):
        config_edit.save(str(file), app="org.example.notes")


@pytest.mark.requires("POSIX files")
def test_link_to_itself_is_an_error_with_its_own_way_out(file: Path) -> None:
    """No permission mends it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.symlink_to(file)
    with pytest.raises(UnsupportedOption, match="symbolic link to itself") as caught:
        config.load(environ={}, path=str(file))
    assert f"remove {file}" == caught.value.hint


PLAIN = st.text(st.sampled_from("ab=\"'#\\ -_.é\t\r\x7f[]\u2028\u00a03"), max_size=12)
LINES = st.one_of(
    PLAIN,
    st.builds('{}="{}"'.format, st.sampled_from(["a", "b-c", "d_1", "é", "a.b", '"q"', ""]), PLAIN),
    st.builds("  {} =  '{}'  ".format, st.sampled_from(["a", "b", "1"]), PLAIN),
    st.builds("#{}".format, PLAIN),
)


@given(st.lists(LINES, max_size=5).map("\n".join) | st.text(max_size=30))
def test_reading_by_hand_agrees_with_tomllib(text: str) -> None:
    """What the fast reader accepts, `tomllib` reads the same; what it does not, it leaves."""
    found = config._read_plain(text)
    if found is not None:
        assert tomllib.loads(text) == found


@given(
    st.dictionaries(
        st.sampled_from(KEYS),
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    ),
    st.lists(LINES, max_size=5).map("\n".join),
)
def test_saved_entries_are_read_back_and_the_rest_stays(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str], before: str
) -> None:
    """Whatever the values and the file: saved, or refused with the file as it was."""
    file = tmp_path_factory.mktemp("config") / "config.toml"
    file.write_bytes(before.encode())
    try:
        config_edit.save(str(file), **values)
    except UnsupportedOption:
        assert before.encode() == file.read_bytes()
        return
    assert {**tomllib.loads(before), **values} == config.read_file(str(file))


def test_save_makes_directory_and_file_private(file: Path) -> None:
    """0700 and 0600, under any umask."""
    old = os.umask(0)
    try:
        config_edit.save(str(file), app="org.example")
    finally:
        os.umask(old)
    assert {"app": "org.example"} == config.read_file(str(file))
    if os.name == "posix":
        assert 0o600 == stat.S_IMODE(file.stat().st_mode)
        assert 0o700 == stat.S_IMODE(file.parent.stat().st_mode)
    assert [file] == list(file.parent.iterdir())


def test_save_says_of_a_path_that_is_not_utf_8_that_it_is_not(file: Path) -> None:
    """The file itself is not damaged."""
    for value in ("vault:/v\udcff", "\udcff"):
        with pytest.raises(UnsupportedOption, match="cannot name what is not UTF-8"):
            config_edit.save(str(file), store=value)
    assert not file.exists()


def test_save_keeps_comments_order_and_tables(file: Path) -> None:
    """Only the entry's own line changes; a new one goes before the first table."""
    write(file, '# mine\nstore = "old" # why\n\nfuture = [1,\n2]\n[table]\nstore = "other"\n')
    config_edit.save(str(file), store="vault:/v", app="org.example")
    assert (
        '# mine\nstore = "vault:/v"\n\nfuture = [1,\n2]\napp = "org.example"\n'
        '[table]\nstore = "other"\n' == file.read_text()
    )


def test_save_of_none_removes_the_entry(file: Path) -> None:
    """And of what is not there, nothing."""
    write(file, 'app = "a"\nstore = "vault"')
    config_edit.save(str(file), app=None, key_file=None)
    assert 'store = "vault"' == file.read_text()


def test_save_over_a_damaged_file_leaves_it(file: Path) -> None:
    """Nothing is lost."""
    write(file, "app = \n# precious\n")
    with pytest.raises(UnsupportedOption):
        config_edit.save(str(file), app="x")
    assert "app = \n# precious\n" == file.read_text()


@pytest.mark.requires("POSIX files")
def test_save_through_a_symlink_keeps_the_symlink(file: Path, tmp_path: Path) -> None:
    """People keep their configuration elsewhere."""
    real = tmp_path / "dotfiles.toml"
    real.write_text('app = "a"\n')
    file.parent.mkdir()
    file.symlink_to(real)
    config_edit.save(str(file), app="b")
    assert file.is_symlink()
    assert 'app = "b"\n' == real.read_text()


def test_save_that_fails_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is `StoreFull`, no leftovers, nothing lost."""
    write(file, 'app = "a"\n')

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TokenkeepError) as caught:
        config_edit.save(str(file), app="b")
    assert "store-full" == caught.value.code
    assert 'app = "a"\n' == file.read_text()
    assert [file] == list(file.parent.iterdir())


def test_interrupted_save_says_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C just after the file was replaced is Ctrl-C, not a file that is missing."""
    replace = os.replace

    def interrupted(*paths: str) -> None:
        replace(*paths)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        config_edit.save(str(file), app="b")
    assert {file} == set(file.parent.iterdir())


@pytest.mark.requires("key-file default")
def test_options_of_the_default_vault(file: Path, home: Path) -> None:
    """`vault` lies in the data directory, its key file in the configuration directory."""
    options = config.vault_options(config.load(store="vault", environ={}, path=str(file)))
    assert config.default_vault_path() == options.path
    assert (KeyFile(config.default_key_path()),) == options.keys
    assert str(home) in options.path
    assert os.path.dirname(options.path) != os.path.dirname(config.default_key_path())


def test_command_line_never_makes_a_vault(file: Path) -> None:
    """That is `tokenkeep vault create`."""
    options = config.vault_options(config.load(store="vault", environ={}, path=str(file)))
    assert options.create is False


@pytest.mark.requires("POSIX paths")
def test_options_of_a_vault_elsewhere(file: Path) -> None:
    """`vault:PATH`, also with colons in it, and the key file that was named."""
    found = config.load(store="vault:/a:b/v", key_file="/k", environ={}, path=str(file))
    options = config.vault_options(found)
    assert "/a:b/v" == options.path
    assert (KeyFile("/k"),) == options.keys


def test_passphrase_file_is_read_when_the_vault_opens(file: Path, tmp_path: Path) -> None:
    """Not before: asking what would be used needs no passphrase."""
    found = config.load(
        store="vault", passphrase_file=str(tmp_path / "p"), environ={}, path=str(file)
    )
    (key,) = config.vault_options(found).keys
    assert isinstance(key, Passphrase)


@pytest.mark.requires("key-file default")
def test_nothing_chosen_is_an_error_with_the_command(file: Path) -> None:
    """The tool does not fall back by itself."""
    with pytest.raises(StoreUnavailable) as caught:
        config.vault_options(config.load(environ={}, path=str(file)))
    assert "tokenkeep vault create" == caught.value.hint


def test_key_without_a_vault_is_an_error(file: Path) -> None:
    """No option is ignored: the platform's own store takes no key file."""
    with pytest.raises(UnsupportedOption, match="no vault is chosen"):
        config.storage_options(config.load(key_file="/k", environ={}, path=str(file)))


@pytest.mark.requires("POSIX paths")
@pytest.mark.parametrize("key", ["key_file", "passphrase_file"])
@pytest.mark.parametrize("place", ["flags", "environment", "file", "a greater one"])
def test_key_for_a_store_that_takes_none_is_an_error(file: Path, place: str, key: str) -> None:
    """No option is ignored: not beside the store's name, nor in a greater place than that."""
    said = {"store": "kernel-keyring", key: "/k"}
    variables = {f"TOKENKEEP_{name.upper()}": value for name, value in said.items()}
    if place == "file":
        write(file, "".join(f'{name} = "{value}"\n' for name, value in said.items()))
    elif place == "a greater one":
        write(file, 'store = "kernel-keyring"\n')
        del variables["TOKENKEEP_STORE"]
    environ = {} if place in ("flags", "file") else variables
    flags = said if place == "flags" else {}
    with pytest.raises(UnsupportedOption, match="kernel-keyring is chosen"):
        config.storage_options(config.load(environ=environ, path=str(file), **flags))


@pytest.mark.parametrize(
    ("store", "expected"), [("kernel-keyring", (KernelKeyringOptions(),)), ("auto", ())]
)
@pytest.mark.parametrize("is_flag", [True, False])
def test_store_that_takes_no_key_hides_one_of_a_lesser_place(
    file: Path, store: str, expected: tuple[object, ...], is_flag: bool
) -> None:
    """The file names the vault and its key; another store can be asked for beside that."""
    write(file, 'store = "vault"\nkey_file = "/k"\n')
    environ = {} if is_flag else {"TOKENKEEP_STORE": store}
    found = config.load(store=store if is_flag else None, environ=environ, path=str(file))
    assert expected == config.storage_options(found)


def test_nothing_chosen_is_the_platforms_own_store(file: Path) -> None:
    """No options: `SecureStorage` then uses the platform's own, or nothing."""
    assert () == config.storage_options(config.load(environ={}, path=str(file)))


@pytest.mark.parametrize("store", ["memory", "Vault", "auto:x", ":", "vaultx"])
def test_unknown_store_is_an_error(file: Path, store: str) -> None:
    """Nothing else is taken for it."""
    with pytest.raises(UnsupportedOption, match="unknown store"):
        config.storage_options(config.load(store=store, environ={}, path=str(file)))


def test_plain_file_needs_no_toml_reader(file: Path) -> None:
    """A cold read must not pay for `tomllib`, nor for anything else that is heavy."""
    write(file, "# comment\napp = \"org.example\"\n\nstore = 'vault:/v'\r\n")
    code = (
        "import sys; before = set(sys.modules); from tokenkeep import config;"
        f"found = config.load(path={str(file)!r}); assert 'org.example' == found.app;"
        "heavy = {'tomllib', 're', 'typing', 'dataclasses', 'enum', 'json', 'pathlib'};"
        "assert not heavy & (set(sys.modules) - before)"
    )
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r};" + code],
        check=True,
        timeout=60,
    )
