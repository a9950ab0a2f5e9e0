"""Make `.venv` hold exactly what the lock pins, and this project; does nothing when it does.

Run by every make target that needs the environment, with the Python that `scripts/python` finds,
so it uses the standard library alone. Stamps inside `.venv` name what it was made from: a changed
lock, interpreter or place makes it anew, a changed `pyproject.toml` reinstalls the project only.
`environment.py charts` adds what requirements/charts.txt pins. A stamp is written last, so an
interrupted run is repeated from the start, and a file lock makes a second make wait for the first.
"""

from __future__ import annotations

import fcntl
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "lock.txt"
CHARTS_LOCK = ROOT / "requirements" / "charts.txt"
PYPROJECT = ROOT / "pyproject.toml"
VENV = ROOT / ".venv"
BUILD = ROOT / "build"
LOG = BUILD / "environment.log"

# Asked for torch's CPU build, and for nothing else, where pip's own configuration has none. The
# hash in the lock holds for it too.
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
NEEDED_GIB = 5
REPORT_EVERY_S = 10.0


class SetUpFailed(Exception):
    """The environment could not be made; the message says why and what to do."""


def say(message: str) -> None:
    print(f"set-up: {message}", flush=True)


def requirement(lock: str, name: str) -> str:
    """The part of the lock's text that pins `name`, hashes included.

    Raises:
        SetUpFailed: the lock does not pin it.
    """
    found = re.search(rf"^{re.escape(name)}==(?:.*\n)(?:[ #].*\n)*", lock, re.MULTILINE)
    if found is None:
        raise SetUpFailed(f"{LOCK.name} does not pin {name}; make it anew with 'make lock'.")
    return found[0]


def packages_stamp() -> str:
    """Names all that decides what is installed: the lock, this script, interpreter and place."""
    digest = hashlib.sha256()
    for part in (LOCK.read_bytes(), Path(__file__).read_bytes()):
        digest.update(hashlib.sha256(part).digest())
    return f"{digest.hexdigest()} {sys.version} {sys.base_prefix} {VENV}"


def project_stamp() -> str:
    return hashlib.sha256(PYPROJECT.read_bytes()).hexdigest()


def charts_stamp() -> str:
    return hashlib.sha256(CHARTS_LOCK.read_bytes()).hexdigest()


def is_stamped(name: str, stamp: str) -> bool:
    try:
        return (VENV / name).read_text() == stamp
    except FileNotFoundError:
        return False


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the file lock; the kernel lets go of it however this process ends."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "environment.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make is setting up; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command: list[str | Path], progress: Callable[[], str] | None = None) -> bool:
    """Run a command, its output in the log; says how far it is every few seconds."""
    with LOG.open("a") as log:
        print("$", *command, file=log, flush=True)
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        while True:
            try:
                return process.wait(REPORT_EVERY_S) == 0
            except subprocess.TimeoutExpired:
                how_far = f"{progress()}, " if progress else ""
                say(f"  {how_far}{time.monotonic() - started:.0f} s")


def pip(*arguments: str | Path, progress: Callable[[], str] | None = None) -> bool:
    return run([VENV / "bin" / "python", "-m", "pip", *arguments], progress)


def install(lock: Path, *options: str, progress: Callable[[], str] | None = None) -> bool:
    """Install wheels by hash; compiled afterwards, on all cores (`compile_packages`)."""
    held = ("--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile")
    return pip("install", *held, *options, "--requirement", lock, progress=progress)


def expect(done: bool, what: str) -> None:
    if not done:
        tail = "\n".join(LOG.read_text(errors="replace").splitlines()[-25:])
        raise SetUpFailed(
            f"\n{tail}\n\n{what} failed: its last words are above, all of it in {LOG}."
        )


def check_machine() -> None:
    """Fail before the download where the lock cannot fit this machine.

    Raises:
        SetUpFailed: another platform than the lock's, or too little disk.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise SetUpFailed(
            f"The lock is for Linux on x86-64; this is {sys.platform} on {platform.machine()}. "
            "Use a Linux machine or container."
        )
    for folder in (ROOT, Path(tempfile.gettempdir())):
        free = shutil.disk_usage(folder).free / 2**30
        if free < NEEDED_GIB:
            raise SetUpFailed(
                f"{folder} has {free:.1f} GiB free; the environment needs {NEEDED_GIB} GiB. "
                "Make room, or set TMPDIR to a larger folder if it is the temporary one."
            )


def install_packages() -> None:
    lock = LOCK.read_text()
    total = len(re.findall(r"^[A-Za-z0-9].*==", lock, re.MULTILINE))
    site = VENV / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"

    def progress() -> str:
        """What pip has downloaded by its own account, until it starts to unpack."""
        _, _, output = LOG.read_text(errors="replace").rpartition("\n$ ")
        if "\nInstalling collected packages" in output:
            return f"{len(list(site.glob('*.dist-info')))} of {total} packages installed"
        fetched = len(re.findall(r"^(?:Collecting|Processing) ", output, re.MULTILINE))
        return f"{fetched} of {total} packages downloaded"

    say(f"making .venv with {platform.python_version()} and the {total} packages of the lock;")
    say("one to two minutes on a fast network, 3 GB on disk; details in build/environment.log")
    if VENV.exists():
        shutil.rmtree(VENV)
    expect(run([sys.executable, "-m", "venv", VENV]), "Making the virtual environment")
    with tempfile.TemporaryDirectory() as folder:
        only_pip, only_torch = Path(folder) / "pip.txt", Path(folder) / "torch.txt"
        only_pip.write_text(requirement(lock, "pip"))
        only_torch.write_text(requirement(lock, "torch"))
        expect(install(only_pip), "Installing the pinned pip")
        say("installing torch (CPU build)")
        if not install(only_torch):
            say(f"pip's configured index has no CPU build of torch; asking {TORCH_INDEX}")
            with_index = ("--extra-index-url", TORCH_INDEX)
            expect(install(only_torch, *with_index), "Installing torch")
    say("downloading and installing the rest")
    expect(install(LOCK, progress=progress), "Installing the lock")
    compile_packages(site)


def compile_packages(site: Path) -> None:
    """Byte-compile on all cores; pip would use one, and double its time.

    Left to the first import, it would fall into the first start of Ray and vLLM, and into every
    start where PYTHONDONTWRITEBYTECODE is set (17 s instead of 4 s of CPU for each process). Some
    files are templates or of another Python's syntax, so the exit status says nothing.
    """
    say("compiling all of it, on all cores")
    command: list[str | Path] = [VENV / "bin" / "python", "-m", "compileall", "-q", "-j", "0"]
    run([*command, "-x", r"/tests?/", site])


def install_project() -> None:
    say("installing tunesmith itself")
    options = ("--no-deps", "--no-build-isolation", "--no-index")
    expect(pip("install", *options, "--editable", ROOT), "Installing tunesmith")


def install_charts() -> None:
    say("installing what the chart is checked with")
    expect(install(CHARTS_LOCK), f"Installing {CHARTS_LOCK.name}")


def make(*, charts: bool = False) -> None:
    """Make what is missing.

    Args:
        charts: also what checks the chart, for tests.
    """
    done = is_stamped(".packages", packages_stamp()) and is_stamped(".project", project_stamp())
    if done and (not charts or is_stamped(".charts", charts_stamp())):
        return
    with only_one():
        started = time.monotonic()
        LOG.unlink(missing_ok=True)
        if not is_stamped(".packages", packages_stamp()):
            check_machine()
            install_packages()
            (VENV / ".packages").write_text(packages_stamp())
        if not is_stamped(".project", project_stamp()):
            install_project()
            (VENV / ".project").write_text(project_stamp())
        if charts and not is_stamped(".charts", charts_stamp()):
            install_charts()
            (VENV / ".charts").write_text(charts_stamp())
        say(f"done in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    try:
        make(charts=sys.argv[1:] == ["charts"])
    except SetUpFailed as failure:
        sys.exit(f"set-up: {failure}")
    except KeyboardInterrupt:
        sys.exit("set-up: interrupted; the next make starts it over")
