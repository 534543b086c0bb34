"""Ctrl-C in real processes: wherever it falls, the run stops and what is done stays."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from PIL import Image


@pytest.fixture
def start(tmp_path):
    """Starts Python code in a process that Ctrl-C reaches; ends it afterwards."""
    started = []

    def run(code):
        # A shell's background job, as these tests may be, ignores the signal.
        heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"
        code = f"import signal; {heard}\n{textwrap.dedent(code)}"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "JAXATTR_HOME": str(tmp_path / "home")},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def read_until(process, word):
    """Reads lines of its standard output up to one with a word."""
    for line in process.stdout:
        if word in line:
            return
    pytest.fail(f"ended early: {process.stderr.read()}")


def press(process, timeout=60):
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=timeout)[1]
    assert process.returncode == 130, told
    assert "Traceback" not in told
    return told


@pytest.mark.parametrize(
    "module",
    [
        *("jax", "jaxlib.xla_client", "tyro"),
        pytest.param("flax", marks=pytest.mark.slow),
    ],
)
def test_while_it_imports(start, module):
    """The import of a module is where the signal arrives, and where it is swallowed."""
    process = start(f"""
        import sys, time, contextlib

        class Stop:
            def find_spec(self, name, path=None, target=None):
                if name == {module!r}:
                    print("here", flush=True)
                    with contextlib.suppress(KeyboardInterrupt):
                        time.sleep(60)

        sys.meta_path.insert(0, Stop())
        sys.argv = ["jaxattr", "explain", "nowhere.gif", "--model", "evidence"]
        from _jaxattr_command import main
        sys.exit(main())
    """)
    read_until(process, "here")
    assert "Interrupted" in press(process)


RUN = """
    import sys, time
    from jaxattr import viz
    from jaxattr.cli import _run

    save_report = viz.save_report

    def told(folder, *args, **kwargs):
        page = save_report(folder, *args, **kwargs)
        print("saved", flush=True)
        {after}
        return page

    viz.save_report = told
    sys.argv = ["jaxattr", "explain", *{paths}, "--model", "evidence"]
    sys.argv += ["--method", {method!r}, "--out", "out"]
    from _jaxattr_command import main
    sys.exit(main())
"""


@pytest.fixture
def paths(tmp_path):
    for i in range(3):
        (tmp_path / f"clip{i}").mkdir()
        for t in range(16):
            image = Image.linear_gradient("L").rotate(20 * t + i).resize((64, 60))
            image.save(tmp_path / f"clip{i}" / f"{t}.png")
    return [f"clip{i}" for i in range(3)]


def listed(out):
    """Clips in the index; every folder is one of them, and nothing else is there."""
    names = {p.name for p in out.iterdir()} - {"index.html"}
    index = (out / "index.html").read_text()
    for name in names:
        assert f'href="{name}/index.html"' in index
        assert not [p.name for p in (out / name).iterdir() if p.name.startswith(".")]
    return sorted(names)


@pytest.mark.slow
def test_just_after_a_page_is_in_place(start, paths, tmp_path):
    process = start(RUN.format(paths=paths, method="saliency", after="time.sleep(0.5)"))
    read_until(process, "saved")
    assert "What was finished stays" in press(process)
    assert listed(tmp_path / "out") == ["clip0"]


def test_in_the_middle_of_a_long_method(start, paths, tmp_path):
    code = RUN.format(paths=paths, method="saliency", after="pass")
    # The second clip's method takes minutes inside of XLA.
    process = start(
        code.replace("from _jaxattr_command", SLOW + "    from _jaxattr_command")
    )
    read_until(process, "slow")
    time.sleep(0.5)
    began = time.perf_counter()
    press(process)
    assert time.perf_counter() - began < 20
    assert listed(tmp_path / "out") == ["clip0"]


SLOW = """explain = _run._Worker.explain

    def slow(self, job, index, *rest):
        if index == 1:
            import jax, jax.numpy as jnp
            print("slow", flush=True)
            long = jax.jit(lambda x: jax.lax.fori_loop(
                0, 10**6, lambda i, x: jnp.sin(x @ x), x))
            jax.block_until_ready(long(jnp.ones((400, 400))))
        return explain(self, job, index, *rest)

    _run._Worker.explain = slow
"""


def test_the_second_ends_a_process_that_runs_no_python(start):
    process = start("""
        import ctypes, signal, sys
        from jaxattr.cli import _commands

        def doctor() -> int:
            # Python's handler runs in this thread alone, which is in C and stays there.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            print("deaf", flush=True)
            ctypes.CDLL(None).sleep(60)
            return 0

        _commands.COMMANDS["doctor"] = doctor
        sys.argv = ["jaxattr", "doctor"]
        from _jaxattr_command import main
        sys.exit(main())
    """)
    read_until(process, "deaf")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    began = time.perf_counter()
    assert "Ended" in press(process)
    assert time.perf_counter() - began < 10


@pytest.mark.slow
def test_a_long_explanation_answers_at_once(start):
    """As in a notebook, without the command line: the wait for XLA can be ended."""
    process = start("""
        import os, sys, numpy as np, jax, jax.numpy as jnp
        from jaxattr import metrics

        def f(clip):  # Takes minutes.
            x = jnp.ones((300, 300)) + clip.sum()
            x = jax.lax.fori_loop(0, 10**6, lambda i, x: jnp.sin(x @ x), x)
            return x[0, :4] + clip.sum()

        clip, heat = np.ones((2, 3, 4, 1), np.float32), np.ones((2, 3, 4), np.float32)
        print("slow", flush=True)
        try:
            metrics.insertion(f, num_steps=1, unit="frame")(clip, 1, heat)
        except KeyboardInterrupt:
            os._exit(130)
    """)
    read_until(process, "slow")
    time.sleep(5)  # Until it is compiled.
    began = time.perf_counter()
    press(process)
    assert time.perf_counter() - began < 20
