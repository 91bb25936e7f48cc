"""What a stage tells: everything in the log, the user's own mistakes on the terminal too.

`recording` redirects the streams of its process for good: every case runs in a process of its own.
"""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from galmass import logs

WORKFLOW = Path(__file__).parents[2] / "workflow"
HEAD = "import os, subprocess, sys\nfrom galmass import logs\nfrom galmass.errors import InputError\n"


def command(body: str, log: Path) -> list[str]:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return [sys.executable, "-c", f"{HEAD}with logs.recording({str(log)!r}):\n{lines}"]


# without PYTHONUNBUFFERED, which would hide a missing flush
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"PYTHONPATH": str(WORKFLOW)}


@pytest.fixture
def stage(tmp_path):
    """Run a body under `recording`; give the process and the log."""
    log = tmp_path / "logs" / "sample" / "stage.log"

    def run(body: str):
        done = subprocess.run(command(body, log), capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
        return done, log.read_bytes().decode()

    return run


def test_all_output_is_in_the_log_in_order_and_none_on_the_terminal(stage):
    done, log = stage(
        "print('from print')\n"
        "os.write(1, b'from a library\\n')\n"
        "print('from stderr', file=sys.stderr)\n"
        "os.write(2, b'from a library to stderr\\n')\n"
        "subprocess.run(['echo', 'from a child'])\n"
        "print('last')"
    )
    assert done.returncode == 0
    assert log.splitlines() == ["from print", "from a library", "from stderr", "from a library to stderr", "from a child", "last"]
    assert (done.stdout, done.stderr) == ("", "")


def test_what_was_printed_before_stays_on_the_terminal(tmp_path):
    code = f"{HEAD}print('before')\nwith logs.recording({str(tmp_path / 'log')!r}):\n    print('inside')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert (done.stdout, (tmp_path / "log").read_text()) == ("before\n", "inside\n")


def test_a_log_is_begun_anew(stage):
    stage("print('first attempt')")
    assert stage("print('second')")[1] == "second\n"


def test_an_error_leaves_its_traceback_in_the_log(stage):
    done, log = stage("print('so far')\nvalue = {}['absent']")
    assert done.returncode == 1
    assert log.startswith("so far\nTraceback (most recent call last)")
    assert log.rstrip().endswith("KeyError: 'absent'")
    assert done.stdout + done.stderr == ""


def test_an_input_error_is_its_message_alone_in_log_and_terminal(stage):
    done, log = stage("print('so far')\nraise InputError('config: k is -1')")
    assert done.returncode == 1
    assert log == "so far\nerror: config: k is -1\n"
    assert done.stderr == "error: config: k is -1\n"
    assert done.stdout == ""


def test_another_value_error_is_no_input_error(stage):
    """`InputError` is a `ValueError`; one that numpy raises is a bug and needs its traceback."""
    done, log = stage("raise ValueError('shapes')")
    assert done.returncode == 1
    assert "Traceback" in log
    assert done.stderr == ""


@pytest.mark.parametrize("raised", ["OSError(28, 'No space left on device', 'results/x')", "RuntimeError('writer: No space left on device (os error 28)')"])
def test_a_full_disk_is_said_with_its_remedy(stage, raised):
    done, log = stage(f"raise {raised}")
    assert done.returncode == 1
    assert "Traceback" in log
    assert re.fullmatch(r"error: .*No space left on device.*; free space where results/ .* lie.* run again: what is finished is kept\n", done.stderr)


def test_a_disk_that_may_not_be_written_is_said_with_its_remedy(stage):
    done, _ = stage("raise OSError(30, 'Read-only file system', 'results/x')")
    assert "'results/x'; make it writable, or link results/" in done.stderr


def test_a_crash_in_compiled_code_says_where(stage):
    done, log = stage("import signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert done.returncode == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in log
    assert 'File "<string>", line' in log


def test_sys_exit_keeps_its_code(stage):
    assert stage("sys.exit(7)")[0].returncode == 7


def test_progress_writes_lines_into_the_log(stage):
    body = (
        "bar = logs.progress(total=40, initial=10, label='training')\nbar.mininterval = 0\nfor _ in range(30):\n    bar.update()\nbar.close()\nprint('after')"
    )
    done, log = stage(body)
    assert done.returncode == 0
    assert "\r" not in log
    lines = [line for line in log.splitlines() if line.strip()]
    assert lines[0].startswith("training: ")
    assert "10/40" in lines[0]
    assert "40/40" in lines[-2]
    assert lines[-1] == "after"
    assert all(line.isascii() for line in lines)
    assert done.stderr == ""


def test_progress_is_live_on_a_terminal_and_not_in_the_log(tmp_path):
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 80))
    body = "bar = logs.progress(total=3, initial=0, label='training')\nbar.update(3)\nbar.close()\nprint('after')"
    done = subprocess.run(command(body, tmp_path / "log"), stdout=inner, stderr=inner, env=ENVIRONMENT, timeout=60)
    os.write(inner, b"end")  # something to read even where the bar is not
    shown = os.read(outer, 10_000).decode()
    os.close(inner)
    os.close(outer)
    assert done.returncode == 0
    assert "training" in shown
    assert "\r" in shown
    assert (tmp_path / "log").read_text() == "after\n"


def test_text_table_turns_a_table_on_its_side(tmp_path):
    (tmp_path / "t.csv").write_text('sample,n,scatter [dex]\ngst10k,100,0.15\n"a, b",7,\n')
    assert logs.text_table(tmp_path / "t.csv").splitlines() == [
        "sample         gst10k  a, b",
        "n              100     7",
        "scatter [dex]  0.15",
    ]


def test_sigterm_is_no_success(tmp_path):
    """Lightning leaves with a SystemExit without code after SIGTERM; the job must not look done."""
    code = f"from galmass import logs\nwith logs.recording(r'{tmp_path}/x.log'):\n    raise SystemExit"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(logs.__file__).parents[1], check=False)
    assert done.returncode == 143
    assert "stopped before the end" in (tmp_path / "x.log").read_text()
