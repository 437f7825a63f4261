"""What the bar counts, and what is seen of it where there is no terminal."""

import pytest

from sweep.answer.gain import LOOKS
from sweep.show.progress import Bar


@pytest.mark.parametrize("confirm", [True, False])
def test_bar_counts_the_confirmation_from_the_start(sweep, monkeypatch, capsys, confirm):
    real, seen = Bar.describe, []

    def describe(self, *arguments):
        seen.append((self.total, self.done))
        real(self, *arguments)

    monkeypatch.setattr(Bar, "describe", describe)
    sweep("dropout=0.0,0.3", f"study.confirm={str(confirm).lower()}", "train.epochs=3")
    searched, first_look = 2 * 2 * 3, 2 * LOOKS[0].seeds * 3
    assert {total for total, done in seen[:3]} == {searched + first_look * confirm}
    assert [round(done) for _, done in seen[:3]] == [4, 8, 12]
    if confirm:  # the first look is in the same bar; others are unknown until it is over
        assert {total for total, done in seen[3:6]} == {searched + first_look}
        assert round(seen[5][1]) == searched + first_look
    lines = capsys.readouterr().err.splitlines()
    said = [line for line in lines if " 100%  " in line]
    assert len(said) == max(1, (len(seen) - 3) // 3) and "best so far" in said[-1], lines
    assert lines[0].startswith("generation 1   0%")


def test_a_bar_of_a_study_that_failed_expects_no_confirmation(sweep, monkeypatch):
    ends = []
    real = Bar.close

    def close(self):
        ends.append((self.total, self.done) if hasattr(self, "total") else None)
        real(self)

    monkeypatch.setattr(Bar, "close", close)
    code = "sweep.jobs.job.train_population"
    monkeypatch.setattr(code, lambda *_: (_ for _ in ()).throw(ValueError("broken")))
    with pytest.raises(Exception, match="broken"):
        sweep("dropout=0.0,0.3", "study.confirm=true")
    assert ends[-1] == (2 * 2 * 2, 0.0)
