"""The settings: one list, read once, every problem told and no value shown."""

from dataclasses import fields
from pathlib import Path

import pytest

from service.settings import OPTIONS, Settings, SettingsError, load

SAMPLES = {
    "host": ("::1", "::1"),
    "port": ("0", 0),
    "data_dir": ("/somewhere", Path("/somewhere")),
    "database_url": ("postgres://u:p@h/d", "postgres://u:p@h/d"),
    "owner_database_url": ("postgresql://u@h/d", "postgresql://u@h/d"),
    "pepper_file": ("~/pepper", Path.home() / "pepper"),
    "kek_file": ("kek", Path.cwd() / "kek"),
    "log_key_file": ("log", Path.cwd() / "log"),
    "bootstrap_token_file": ("/first", Path("/first")),
    "secret_prefix": ("acme_", "acme_"),
    "explorer": ("OFF", False),
    "public_origin": ("https://Tokens.example.com", ("https", "tokens.example.com", 443)),
    "log_level": ("Warning", 30),
    "log_format": ("json", "json"),
    "drain_delay_s": ("2.5", 2.5),
}
WRONG = {
    "workers": ("0", "65", "hush"),
    "port": ("65536", "-1", "http", "", "1e3"),
    "database_url": ("mysql://hush@h/d", "hush", "", "postgresql://[hush/d"),
    "pepper_file": ("", "\0hush"),
    "log_key_file": ("",),
    "secret_prefix": ("Hush_", "hush", ""),
    "explorer": ("hush",),
    "public_origin": ("hush", "", "null", "http://hush.example", "https://hush.example/", "https://hush.example:0"),
    "trusted_proxies": ("hush", "10.0.0.0/33", "10.0.0.1/8"),
    "log_level": ("hush",),
    "log_format": ("JSON",),
    "usage_window_s": ("-1", "nan", "inf", "hush"),
    "partition_size": ("999", "9" * 5000),
}


def test_one_list() -> None:
    """Every setting is an option and every option a setting; each says what it expects and what it is for."""
    assert [option.name for option in OPTIONS] == [field.name for field in fields(Settings)]
    assert all(option.expects and option.help for option in OPTIONS)
    assert {option.flag for option in OPTIONS if "_" in option.flag} == set()


def test_defaults_can_be_written() -> None:
    """What help says of a default, given as text, is the default."""
    defaults = load({}, {})
    shown = {option.name: option.default_text for option in OPTIONS if option.default_text}
    assert load({}, shown) == defaults
    assert shown.items() >= {"port": "8080", "data_dir": "./data", "explorer": "auto", "log_level": "info"}.items()
    assert "database_url" not in shown


@pytest.mark.parametrize(("name", "sample"), SAMPLES.items())
def test_an_option_wins_over_its_variable(name: str, sample: tuple[str, object]) -> None:
    """Each setting is read alike from its option and its variable, and the option is believed."""
    text, meant = sample
    (option,) = [option for option in OPTIONS if option.name == name]
    assert getattr(load({option.variable: text}, {}), name) == meant
    assert getattr(load({option.variable: "\0 hush"}, {name: text}), name) == meant


def test_networks_have_commas_between_them() -> None:
    """Addresses and networks of both families are read, spaces or not."""
    found = load({"ENTRI_TRUSTED_PROXIES": "10.0.0.0/8, ::1,192.0.2.1"}, {}).trusted_proxies
    assert [str(network) for network in found] == ["10.0.0.0/8", "::1/128", "192.0.2.1/32"]


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_a_wrong_value_is_told_by_what_was_expected(name: str, text: str) -> None:
    """The problem names where the value came from and what it must be, and does not quote it."""
    (option,) = [option for option in OPTIONS if option.name == name]
    for environment, options, source in (
        ({option.variable: text}, {}, option.variable),
        ({}, {name: text}, option.flag),
    ):
        with pytest.raises(SettingsError) as caught:
            load(environment, options)
        assert str(caught.value) == f"{source} must be {option.expects}"


def test_all_problems_are_told_at_once() -> None:
    """Unknown variables and wrong values make one message, a line each; variables of others are none of ours."""
    environment = {"ENTRI_PORTS": "hush", "ENTRI_": "hush", "PGHOST": "hush", "ENTRI_PORT": "hush"}
    with pytest.raises(SettingsError) as caught:
        load(environment, {"drain_s": "hush", "hash_threads": "0"})
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == [
        "ENTRI_PORTS", "ENTRI_", "ENTRI_PORT", "--hash-threads", "--drain-s",
    ]  # fmt: skip
    assert "hush" not in str(caught.value)


def test_workers_share_the_connections_of_the_embedded_postgresql() -> None:
    """More pools than it has connections for are refused at the start; a server of one's own is one's own affair."""
    many = {"ENTRI_WORKERS": "8", "ENTRI_POOL_SIZE": "20"}
    with pytest.raises(SettingsError, match=r"^\(workers \+ 1\) \* \(pool_size \+ 9\) must be at most 195 with"):
        load(many, {})
    assert load(many, {"pool_size": "12"}).workers == 8
    assert load(many, {"database_url": "postgresql://h/d"}).workers == 8
    assert load({}, {"pool_size": "200"}).workers == 1


def test_settings_do_not_show_themselves() -> None:
    """A database URL holds a password, so the settings have no text of their own."""
    settings = load({"ENTRI_DATABASE_URL": "postgresql://u:hush@h/d"}, {})
    assert "hush" not in repr(settings)
