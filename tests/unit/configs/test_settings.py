"""Settings come from the environment and fill themselves from the home folder."""

from pathlib import Path

import pytest

from configs.settings import Settings


def test_what_is_not_set_lies_in_the_home_folder(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)

    assert settings.catalog_url == f"sqlite+pysqlite:///{tmp_path}/catalog.db"
    assert settings.artifacts_dir == tmp_path / "artifacts"
    assert settings.key_path == tmp_path / "keys.json"


def test_a_childs_environment_gives_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path, port=8123, prefect_auth="user:word", attempt_lease_s=3.5)

    for name, value in settings.child_environment().items():
        monkeypatch.setenv(name, value)

    assert Settings() == settings


def test_a_secret_setting_does_not_show_in_a_text(tmp_path: Path) -> None:
    assert "word" not in repr(Settings(home=tmp_path, prefect_auth="user:word"))
