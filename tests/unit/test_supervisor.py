"""The supervisor starts, restarts and stops the processes of a node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from node.domain.errors import Misconfigured, PortTaken
from services.run.child import failed, failure, opened
from services.run.doors import Door
from services.run.supervisor import Backoff, Part, Supervisor

READY = 'print(\'{"doors": [{"name": "DICOM", "host": "127.0.0.1", "port": 104}]}\', flush=True)\n'
WAIT = "import sys; sys.stdin.read()\n"


def part(name: str, *code: str, grace: float = 30.0) -> Part:
    return Part(name=name, command=(sys.executable, "-c", "".join(map(textwrap.dedent, code))), grace=grace)


def stop_now(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_doors_are_announced_once_when_all_parts_are_ready():
    told: list[list[Door]] = []

    def announce(doors: list[Door]) -> None:
        told.append(doors)
        stop_now()

    Supervisor(
        [part("one", READY, WAIT), part("two", "print('{\"doors\": []}', flush=True)\n", WAIT)],
        announce=announce,
    ).run()
    assert told == [[Door(name="DICOM", host="127.0.0.1", port=104)]]


def test_parts_stop_in_their_order(tmp_path):
    diary = tmp_path / "diary"
    code = """
        import signal, sys
        def stop(*_):
            with open({diary!r}, "a") as file:
                file.write("{name} ")
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
    """
    parts = [
        part(name, code.format(diary=str(diary), name=name), READY, WAIT) for name in ("dicom", "worker")
    ]
    Supervisor(parts, announce=stop_now).run()
    assert diary.read_text() == "dicom worker "


def test_a_crashed_part_is_started_again(tmp_path):
    mark = tmp_path / "mark"
    code = f"""
        import os, pathlib, signal
        mark = pathlib.Path({str(mark)!r})
        if mark.exists():
            os.kill({os.getpid()}, signal.SIGTERM)
        else:
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    told = []
    Supervisor([part("dicom", READY, code, WAIT)], announce=told.append).run()
    assert mark.exists()
    assert len(told) == 1


def test_what_keeps_a_part_from_starting_ends_the_node():
    code = """
        print('{"failed": "PortTaken", "arguments": ["104"]}', flush=True)
        raise SystemExit(4)
    """
    with pytest.raises(PortTaken, match="104"):
        Supervisor([part("worker", READY, WAIT), part("dicom", code)], announce=stop_now).run()


def test_a_part_that_ends_before_it_is_ready_ends_the_node():
    with pytest.raises(Misconfigured, match="dicom process ended with exit code 3"):
        Supervisor([part("dicom", "raise SystemExit(3)")], announce=stop_now).run()


def test_a_part_that_does_not_stop_is_killed():
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    Supervisor([part("dicom", code, READY, "while True: signal.pause()", grace=0.2)], announce=stop_now).run()


def test_signals_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    Supervisor([part("dicom", READY, WAIT)], announce=stop_now).run()
    assert signal.getsignal(signal.SIGTERM) is before


def test_children_end_with_a_supervisor_that_was_killed(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    child = f"file = open({str(fifo)!r}, 'w')\n" + READY + WAIT
    program = f"""
        import os, signal, sys
        from services.run.supervisor import Part, Supervisor
        part = Part(name="dicom", command=(sys.executable, "-c", {child!r}))
        Supervisor([part], announce=lambda _: os.kill(os.getpid(), signal.SIGKILL)).run()
    """
    supervisor = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    with fifo.open() as held:
        assert held.read() == ""  # ends when the child, which alone holds the other end, has ended
    assert supervisor.wait() == -signal.SIGKILL


def test_pauses_double_up_to_a_minute_and_are_forgotten_after_a_steady_run():
    pauses, state = [], Backoff()
    for _ in range(9):
        state = state.crashed(ran=1.0)
        pauses.append(state.delay)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert state.crashed(ran=600.0).delay == 0.5


def test_a_failure_is_told_by_its_class_and_words():
    told = failure(failed(PortTaken(104)))
    assert isinstance(told, PortTaken)
    assert str(told) == str(PortTaken(104))


def test_doors_survive_the_pipe():
    door = Door(name="DICOM", host="0.0.0.0", port=104)
    assert [Door(**told) for told in opened([door])["doors"]] == [door]


def test_a_child_stops_on_sigterm_and_at_the_end_of_its_input(tmp_path):
    program = """
        import sys
        from services.run.child import main
        def work(directory, stop, ready):
            ready([])
            stop.wait()
        sys.exit(main("dicom", work, sys.argv[1]))
    """
    make_site(tmp_path)
    for end in (lambda child: child.terminate(), lambda child: child.stdin.close()):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout.readline() == b'{"doors": []}\n'
        end(child)
        assert child.wait() == 0


def make_site(folder: Path) -> None:
    (folder / "keys").mkdir()
    for name in ("site.crt", "site.key"):
        (folder / "keys" / name).touch(0o600)
    (folder / "site.toml").write_text('[site]\nname = "brno"\n')
