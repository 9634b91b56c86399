"""Some settings say how a result is made; they are told apart by their metadata."""

from dataclasses import dataclass, field

from gswap.foundation.settings import NO_RESULT, result_settings


@dataclass(frozen=True)
class Config:
    steps: int = 3
    memory: int = field(default=96, metadata=NO_RESULT)


def test_settings_that_change_no_result_are_left_out():
    assert result_settings(Config) == result_settings(Config(memory=5)) == ("steps",)
