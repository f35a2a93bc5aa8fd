"""What a worker process prints and logs, whoever's code does it."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest
from automate.worker import output
from automate.worker.output import RedactedStream
from automate_core.redaction import forget, remember

SECRET = "correct-horse-battery"

PRELUDE = """
import asyncio, logging, sys, threading, warnings
from automate_core.redaction import remember

before = logging.StreamHandler()  # a project's own, from before; it writes to the real stream
logging.getLogger("project").addHandler(before)
silent = logging.getLogger("silent")
silent.propagate = False

from automate.worker.output import guard

guard()
guard()
secret = "-".join(("correct", "horse", "battery"))
remember(secret)
"""


def printed(code: str) -> str:
    """Return what a process prints that is guarded and knows the secret."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout


WAYS = {
    "print": 'print("sent", secret)',
    "print in pieces": 'sys.stdout.write("sent "); sys.stdout.write(secret[:9]); print(secret[9:])',
    "print in pieces that are flushed": 'print("sent", secret[:9], end="", flush=True); print(secret[9:])',
    "one character after the other": 'for one in f"sent {secret}": print(one, end="", flush=True)',
    "bytes": 'sys.stdout.buffer.write(b"sent " + secret.encode())',
    "bytes and text": "sys.stdout.buffer.write(secret[:9].encode()); sys.stdout.buffer.flush(); print(secret[9:])",
    "no line end": "sys.stderr.write(secret)",
    "writelines": 'sys.stderr.writelines(["sent ", secret, " there"])',
    "a handler of the project": 'logging.getLogger("project").error("sent %s", secret, exc_info=ValueError(secret))',
    "a new handler": 'logging.basicConfig(); logging.error("sent %s", secret)',
    "the last resort": 'silent.error("sent %s", secret, stack_info=True)',
    "a warning": 'warnings.warn(f"sent {secret}")',
    "wrong arguments": 'logging.getLogger("project").error("sent %d", secret)',
    "a thread": """
        def fail():
            raise ExceptionGroup(secret, [ValueError(secret)]) from KeyError(secret)
        thread = threading.Thread(target=fail, name=secret)
        thread.start()
        thread.join()
    """,
    "the process": """
        error = RuntimeError({"sent": [secret]})
        error.add_note(secret)
        raise error from ConnectionError(secret)
    """,
    "the end of the process": "raise SystemExit(secret)",
    "a finaliser": """
        class Broken:
            def __del__(self):
                raise ValueError(secret)
        broken = Broken()
        del broken
    """,
    "a task": """
        async def fail():
            raise ValueError(secret)
        async def main():
            task = asyncio.ensure_future(fail())
            await asyncio.sleep(0)
            del task
        asyncio.run(main())
    """,
}


@pytest.mark.parametrize("way", WAYS)
def test_no_secret_is_printed(way: str) -> None:
    text = printed(WAYS[way])
    assert SECRET not in text
    assert "[REDACTED]" in text


@pytest.mark.parametrize("where", ["thread", "process"])
def test_a_traceback_is_read_as_a_whole(where: str) -> None:
    """Line by line, base64 in lines could not be recognised; interpreters write the text of an exception at once."""
    text = printed(f"""
        import base64
        wrapped = base64.encodebytes(b"Dear all, " * 8 + secret.encode() + b" and so on" * 9).decode()
        def fail():
            raise ExceptionGroup("several", [ValueError(wrapped)])
        if "{where}" == "thread":
            thread = threading.Thread(target=fail)
            thread.start()
            thread.join()
        else:
            fail()
    """)
    assert "ExceptionGroup: several (1 sub-exception)" in text
    assert "| ValueError: [REDACTED]" in text
    assert "IGFuZCBzbyBvbiBhbmQg" not in text


def test_a_traceback_says_all_the_rest() -> None:
    text = printed(WAYS["the process"])
    assert "ConnectionError: [REDACTED]" in text
    assert "The above exception was the direct cause of the following exception:" in text
    assert text.endswith("RuntimeError: {'sent': ['[REDACTED]']}\n[REDACTED]\n")


def test_a_stream_stays_what_it_was() -> None:
    code = 'print(sys.stdout.isatty(), sys.stdout.encoding.lower(), sys.stdout.fileno(), sys.stderr.write("abc"))'
    assert printed(code).replace("abc", "") == "False utf-8 1 3\n"


def test_a_worker_is_guarded() -> None:
    code = """
        import django
        from django.conf import settings
        settings.configure(INSTALLED_APPS=["automate_outbox", "automate"], USE_TZ=True,
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
        django.setup()
        from django.core.management import call_command
        call_command("migrate", verbosity=0)
        call_command("automate_worker", once=True, verbosity=0)
        from automate.worker.output import RedactedStream
        assert isinstance(sys.stdout, RedactedStream)
        remember("another-secret-of-mine")
        print("it is another-secret-of-mine")
    """
    alone = "import sys\nfrom automate_core.redaction import remember\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "it is [REDACTED]\n"), done.stderr


@pytest.fixture
def written() -> Iterator[tuple[RedactedStream, io.TextIOWrapper]]:
    """A redacted stream over bytes, while the secret is known."""
    below = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    remember(SECRET)
    yield RedactedStream(below), below
    forget(SECRET)


def shown(below: io.TextIOWrapper) -> bytes:
    assert isinstance(below.buffer, io.BytesIO)
    return below.buffer.getvalue()


def test_what_is_flushed_is_written_but_for_what_a_secret_may_begin_with(
    written: tuple[RedactedStream, io.TextIOWrapper],
) -> None:
    stream, below = written
    stream.write("Sure? [y/n] correct-ho")
    stream.flush()
    assert shown(below) == b"Sure? [y/n] "
    stream.write("use, or so\n")
    assert shown(below) == b"Sure? [y/n] correct-house, or so\n"
    stream.write("correct")
    stream.finish()
    assert shown(below).endswith(b"so\ncorrect")


def test_a_secret_of_which_the_end_begins_another_stays_whole(
    written: tuple[RedactedStream, io.TextIOWrapper],
) -> None:
    stream, below = written
    remember("battery-and-staple")
    try:
        for piece in (f"it is {SECRET}", "-and", "-staple", " there\n"):
            stream.write(piece)
            stream.flush()
    finally:
        forget("battery-and-staple")
    assert shown(below) == b"it is [REDACTED] there\n"


def test_bytes_that_are_no_text_stay_what_they_are(written: tuple[RedactedStream, io.TextIOWrapper]) -> None:
    stream, below = written
    for piece in (b"\xff\x00 gr\xc3", b"\xbcn ", SECRET.encode(), b" \xfe\n"):
        assert stream.buffer.write(piece) == len(piece)
    stream.write("text\n")
    assert shown(below) == b"\xff\x00 gr\xc3\xbcn [REDACTED] \xfe\ntext\n"


CODES = "12345\n67890\nabcde\nfghij"


@pytest.fixture
def codes() -> Iterator[str]:
    """A secret of lines that are too short to be secrets themselves."""
    remember(CODES)
    yield CODES
    forget(CODES)


@pytest.mark.parametrize("flushed", [True, False])
@pytest.mark.parametrize("pieces", [["see ", CODES, "\n"], ["see 12345\n", "67890\n", "abcde\n", "fghij\n"]])
def test_a_secret_of_short_lines_is_hidden_as_a_whole(
    written: tuple[RedactedStream, io.TextIOWrapper], codes: str, pieces: list[str], flushed: bool
) -> None:
    stream, below = written
    for piece in pieces:
        stream.write(piece)
        if flushed:
            stream.flush()
    assert shown(below) == b"see [REDACTED]\n"


@pytest.mark.parametrize("flushed", [True, False])
@pytest.mark.parametrize("before", range(20, 80, 3))
@pytest.mark.parametrize("after", [0, 30, 100])
def test_base64_in_lines_that_are_printed_one_by_one(
    written: tuple[RedactedStream, io.TextIOWrapper], before: int, after: int, flushed: bool
) -> None:
    stream, below = written
    encoded = base64.encodebytes(b"x" * before + SECRET.encode() + b"y" * after).decode()
    for line in ["here:\n", *encoded.splitlines(keepends=True), "the end.\n"]:
        stream.write(line)
        if flushed:
            stream.flush()
    text = shown(below).decode()
    assert text.startswith("here:\n")
    assert text.endswith("\nthe end.\n")
    of_secret = encoded.replace("\n", "")[before * 8 // 6 : (before + len(SECRET)) * 8 // 6]
    assert not any(of_secret[start : start + 4] in text.replace("\n", "") for start in range(len(of_secret) - 3))


def test_other_base64_is_held_only_until_it_ends(written: tuple[RedactedStream, io.TextIOWrapper]) -> None:
    stream, below = written
    encoded = base64.encodebytes(bytes(range(256)) * 40)
    for line in encoded.splitlines(keepends=True):
        stream.write(line.decode())
        assert stream._size <= 8192
    stream.write("the end.\n")
    assert shown(below) == encoded + b"the end.\n"


def test_what_comes_in_one_write_is_not_divided(written: tuple[RedactedStream, io.TextIOWrapper]) -> None:
    stream, below = written
    stream.write("password='first line\nsecond line")
    stream.write("'\n")
    assert shown(below) == b"password='[REDACTED]'\n"


def test_a_line_without_an_end_is_held_only_so_long(
    written: tuple[RedactedStream, io.TextIOWrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, below = written
    monkeypatch.setattr(output, "_MOST_HELD", 100)
    texts: list[str] = []

    def see(text: str) -> str:
        texts.append(text)
        return text

    monkeypatch.setattr(output, "redact_text", see)
    for _ in range(1000):
        stream.write("..........")
        assert stream._size <= 100
    assert len(shown(below)) >= 9900
    assert sum(map(len, texts)) <= 30_000
