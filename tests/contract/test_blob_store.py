"""Every blob store keeps the promises of `node.blobs.store.BlobStore`."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from node.blobs.filesystem import FilesystemStore
from node.blobs.memory import MemoryStore
from node.blobs.store import PREFIXES, BlobStore
from node.domain.errors import BlobMissing, DigestMismatch, StoreFailing, StoreFull
from node.domain.ids import Digest

UNKNOWN = Digest("0" * 64)
CONTENTS = st.lists(st.binary(max_size=3000), max_size=5)


@dataclass
class Subject:
    """A store under test, and what only a test does to it."""

    store: BlobStore
    rot: Callable[[Digest], None]
    """Change the kept bytes behind the store's back."""
    reopened: Callable[[], BlobStore]
    """The store as the next process finds it."""
    full: Callable[[], BlobStore]
    """A store of the same kind without room."""
    leftovers: Callable[[], int]
    """How many unfinished blobs lie about."""
    evidence: Callable[[], set[tuple[str, bytes]]]
    """What was set aside: digests and bytes."""


def filesystem(folder: Path) -> Subject:
    root = folder / "blobs"

    def rot(digest: Digest) -> None:
        path = root / digest[:2] / digest
        path.chmod(0o600)
        path.write_bytes(b"\0rotten" + path.read_bytes()[7:])

    return Subject(
        FilesystemStore(root),
        rot=rot,
        reopened=lambda: FilesystemStore(root),
        full=lambda: FilesystemStore(folder / "full", reserve=1 << 60),
        leftovers=lambda: len(list((root / "incoming").iterdir())),
        evidence=lambda: {(path.name[:64], path.read_bytes()) for path in (root / "evidence").iterdir()},
    )


def memory(_: Path) -> Subject:
    store = MemoryStore()

    def rot(digest: Digest) -> None:
        store.blobs[digest] = b"\0rotten"

    return Subject(
        store,
        rot=rot,
        reopened=lambda: store,
        full=lambda: MemoryStore(capacity=0),
        leftovers=lambda: 0,
        evidence=lambda: {(str(digest), held) for digest, held in store.evidence},
    )


IMPLEMENTATIONS = {"filesystem": filesystem, "memory": memory}


@pytest.fixture(params=IMPLEMENTATIONS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    return IMPLEMENTATIONS[request.param](tmp_path)


@pytest.fixture
def store(subject: Subject) -> BlobStore:
    return subject.store


def content(store: BlobStore, digest: Digest) -> bytes:
    with store.open(digest) as file:
        return file.read() or b""


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=CONTENTS)
def test_what_was_put_comes_back_under_its_sha_256(store, chunks):
    data = b"".join(chunks)
    digest = store.put(chunks)
    assert digest == name(data)
    assert content(store, digest) == data
    assert store.size(digest) == len(data)
    store.verify(digest)


def test_a_chunk_may_be_any_run_of_bytes_and_is_used_up_before_the_next(store):
    buffer = bytearray(4)

    def chunks() -> Iterator[bytes | bytearray | memoryview]:
        for word in (b"abcd", b"efgh"):
            buffer[:] = word
            yield memoryview(buffer)
        yield bytearray(b"ij")
        yield b"kl"
        buffer[:] = b"XXXX"

    assert content(store, store.put(chunks())) == b"abcdefghijkl"


def test_nobody_sees_a_blob_before_it_is_kept(store):
    with store.writer() as writer:
        writer.write(b"slice")
        assert list(store.digests()) == []
        assert store.size(Digest(name(b"slice"))) is None
        digest = writer.keep()
    assert list(store.digests()) == [digest]


def test_what_was_not_kept_leaves_nothing(subject):
    free = subject.store.free()
    with subject.store.writer() as writer:
        writer.write(b"slice")
    assert list(subject.store.digests()) == []
    assert subject.leftovers() == 0
    if isinstance(subject.store, MemoryStore):
        assert subject.store.free() == free


def test_a_sender_that_fails_in_the_middle_leaves_nothing(subject):
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        subject.store.put(chunks())
    assert list(subject.store.digests()) == []
    assert subject.leftovers() == 0


def test_a_writer_counts_and_shows_what_was_written_so_far(store):
    with store.writer() as writer:
        writer.write(b"preamble")
        with writer.view() as view:
            assert bytes(view) == b"preamble"
        writer.write(b" and more")
        assert writer.size == 17
        with writer.view() as view:
            assert bytes(view) == b"preamble and more"
            assert bytes(view[9:12]) == b"and"
        assert content(store, writer.keep()) == b"preamble and more"


def test_a_finished_writer_tells_its_name_and_is_seen_by_nobody(subject):
    with subject.store.writer() as writer:
        writer.write(b"slice")
        assert writer.finish() == name(b"slice")
        assert list(subject.store.digests()) == []
        assert writer.keep() == name(b"slice")
    with subject.store.writer() as writer:
        writer.write(b"another")
        writer.finish()
    assert list(subject.store.digests()) == [name(b"slice")]
    assert subject.leftovers() == 0


def test_several_writers_are_kept_at_once(subject):
    contents = [b"first", b"second", b"", b"first"]
    with ExitStack() as stack:
        writers = [stack.enter_context(subject.store.writer()) for _ in contents]
        for writer, data in zip(writers, contents, strict=True):
            writer.write(data)
        assert list(subject.store.digests()) == []
        digests = subject.store.keep_all(writers)
    assert digests == [name(data) for data in contents]
    assert set(subject.reopened().digests()) == set(digests)
    for digest in digests:
        subject.store.verify(digest)
    assert subject.store.keep_all([]) == []
    assert subject.leftovers() == 0


def test_nothing_written_is_shown_as_nothing(store):
    with store.writer() as writer, writer.view() as view:
        assert bytes(view) == b""


def test_the_same_bytes_may_be_put_again(store):
    first, second = store.put([b"sli", b"ce"]), store.put([b"slice"])
    assert first == second
    assert list(store.digests()) == [first]


def test_a_rotten_copy_is_noticed_and_healed_by_putting_the_bytes_again(subject):
    digest = subject.store.put([b"a slice of a study"])
    subject.rot(digest)
    with pytest.raises(DigestMismatch):
        subject.store.verify(digest)
    subject.store.put([b"a slice of a study"])
    subject.store.verify(digest)


def test_a_blob_that_is_not_held_is_named_missing(store):
    for ask in (store.open, store.verify):
        with pytest.raises(BlobMissing):
            ask(UNKNOWN)
    assert store.size(UNKNOWN) is None
    store.remove(UNKNOWN)


def test_a_whole_blob_is_opened_at_its_beginning_and_a_rotten_or_missing_one_is_not(subject):
    digest = subject.store.put([b"a slice of a study"])
    with subject.store.open_whole(digest) as file:
        assert file.read() == b"a slice of a study"
        assert os.pread(file.fileno(), 5, 2) == b"slice"
    subject.rot(digest)
    with pytest.raises(DigestMismatch):
        subject.store.open_whole(digest)
    with subject.store.open(digest):
        """As it is, it can still be opened."""
    with pytest.raises(BlobMissing):
        subject.store.open_whole(UNKNOWN)


def test_rotten_bytes_that_were_set_aside_outlive_what_becomes_of_the_blob(subject):
    digest, other = subject.store.put([b"a slice of a study"]), subject.store.put([b"another"])
    subject.rot(digest)
    rotten = content(subject.store, digest)
    assert subject.store.set_aside(digest)
    assert content(subject.store, digest) == rotten
    subject.store.put([b"a slice of a study"])
    assert subject.evidence() == {(digest, rotten)}
    subject.store.verify(digest)
    subject.store.remove(digest)
    assert subject.evidence() == {(digest, rotten)}
    assert list(subject.reopened().digests()) == [other]
    assert not subject.store.set_aside(digest)


def test_what_is_set_aside_twice_is_one_piece_of_evidence_and_what_differs_is_two(subject):
    digest = subject.store.put([b"a slice of a study"])
    for _ in range(2):
        assert subject.store.set_aside(digest)
    assert len(subject.evidence()) == 1
    subject.store.put([b"a slice of a study"])
    subject.rot(digest)
    subject.store.set_aside(digest)
    assert len(subject.evidence()) == 2


def test_a_listing_has_the_names_and_sizes_of_one_folder_and_no_more(store):
    held = {store.put([str(number).encode() * 5]): 5 * len(str(number)) for number in range(300)}
    assert store.listing("00") == {digest: size for digest, size in held.items() if digest[:2] == "00"}
    found = [store.listing(prefix) for prefix in PREFIXES]
    assert {digest: size for some in found for digest, size in some.items()} == held
    assert sum(map(len, found)) == len(held)
    with store.writer() as writer:
        writer.write(b"half")
        store.set_aside(next(iter(held)))
        assert sum(len(store.listing(prefix)) for prefix in PREFIXES) == len(held)


def test_a_listing_tells_the_size_that_is_there_and_not_the_one_that_was(subject):
    digest = subject.store.put([b"0123456789"])
    subject.rot(digest)
    assert subject.store.listing(digest[:2]) == {digest: len(content(subject.store, digest))}


def test_a_removed_blob_is_gone_and_may_come_back(subject):
    digest = subject.store.put([b"slice"])
    subject.store.remove(digest)
    subject.store.remove(digest)
    assert subject.store.size(digest) is None
    assert list(subject.reopened().digests()) == []
    assert subject.store.put([b"slice"]) == digest
    assert content(subject.store, digest) == b"slice"


def test_an_opened_blob_has_a_descriptor_that_the_system_can_read_and_send(store, tmp_path):
    digest = store.put([b"0123456789"])
    with store.open(digest) as file, (tmp_path / "out").open("wb") as out:
        assert os.pread(file.fileno(), 4, 3) == b"3456"
        assert os.sendfile(out.fileno(), file.fileno(), 8, 2) == 2
    assert (tmp_path / "out").read_bytes() == b"89"


def test_a_blob_outlives_the_process_that_put_it(subject):
    digest = subject.store.put([b"slice"])
    again = subject.reopened()
    assert content(again, digest) == b"slice"
    assert list(again.digests()) == [digest]


def test_a_store_without_room_says_so_and_keeps_nothing(subject):
    full = subject.full()
    assert full.free() <= 0
    with pytest.raises(StoreFull):
        full.put([b"slice"])
    assert list(full.digests()) == []


def test_a_memory_store_that_fills_up_on_the_way_says_so_and_keeps_nothing():
    store = MemoryStore(capacity=10)
    with pytest.raises(StoreFull):
        store.put([b"12345", b"67890", b"1"])
    assert store.put([b"1234567890"]) in list(store.digests())


def test_sixteen_writers_of_the_same_and_of_other_bytes_do_not_disturb_each_other(subject):
    def put(number: int) -> Digest:
        return subject.store.put([b"part of ", str(number % 8).encode() * 20000])

    with ThreadPoolExecutor(16) as pool:
        digests = set(pool.map(put, range(160)))
    assert len(digests) == 8
    assert set(subject.store.digests()) == digests
    for digest in digests:
        subject.store.verify(digest)
    assert subject.leftovers() == 0


class StoreMachine(RuleBasedStateMachine):
    """A store, and a dictionary that says what it must hold."""

    implementation: Callable[[Path], Subject]
    kept = Bundle("kept")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.subject = type(self).implementation(self.folder)
        self.store = self.subject.store
        self.held: dict[Digest, bytes] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(target=kept, chunks=CONTENTS)
    def put(self, chunks):
        digest = self.store.put(chunks)
        self.held[digest] = b"".join(chunks)
        return digest

    @rule(digest=kept)
    def put_again(self, digest):
        if digest in self.held:
            assert self.store.put([self.held[digest]]) == digest

    @rule(chunks=CONTENTS)
    def abandon(self, chunks):
        with self.store.writer() as writer:
            for chunk in chunks:
                writer.write(chunk)

    @rule(digest=consumes(kept))
    def remove(self, digest):
        self.store.remove(digest)
        self.held.pop(digest, None)

    @rule(target=kept, first=CONTENTS, second=CONTENTS)
    def two_writers_at_once(self, first, second):
        with self.store.writer() as one, self.store.writer() as other:
            for writer, chunks in ((one, first), (other, second)):
                for chunk in chunks:
                    writer.write(chunk)
            digests = one.keep(), other.keep()
        self.held |= dict(zip(digests, (b"".join(first), b"".join(second)), strict=True))
        return multiple(*digests)

    @rule(target=kept, contents=st.lists(st.binary(max_size=3000), max_size=4))
    def several_at_once(self, contents):
        with ExitStack() as stack:
            writers = [stack.enter_context(self.store.writer()) for _ in contents]
            for writer, data in zip(writers, contents, strict=True):
                writer.write(data)
            digests = self.store.keep_all(writers)
        self.held |= dict(zip(digests, contents, strict=True))
        return multiple(*digests)

    @rule()
    def crash(self):
        """The process ends in the middle of a write and another one begins."""
        unfinished = self.store.writer()
        unfinished.__enter__()
        unfinished.write(b"half of it")
        self.store = self.subject.reopened()
        unfinished.__exit__(None, None, None)

    @rule(digest=kept)
    def rot(self, digest):
        if self.held.get(digest):
            self.subject.rot(digest)
            with pytest.raises(DigestMismatch):
                self.store.verify(digest)
            self.store.put([self.held[digest]])

    @invariant()
    def what_is_held_is_what_was_kept(self):
        assert set(self.store.digests()) == set(self.held)
        for digest, data in self.held.items():
            assert content(self.store, digest) == data


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_any_order_of_calls_keeps_the_promises(implementation):
    machine = type(
        f"{implementation.title()}Machine",
        (StoreMachine,),
        {"implementation": staticmethod(IMPLEMENTATIONS[implementation])},
    ).TestCase
    machine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
    machine().runTest()


# what only a store on disks can promise


CALLS = ("open", "write", "fdatasync", "fsync", "rename", "replace", "mkdir", "close")
"""System calls of which each can fail on a bad medium."""


@contextmanager
def failing(call: str, after: int, fault: Callable[..., object]) -> Iterator[list[str]]:
    """Let the n-th use of a system call go wrong; the list names the calls that did."""
    struck: list[str] = []
    real, used = getattr(os, call), 0

    def wrapped(*args, **kwargs):
        nonlocal used
        used += 1
        if used == after + 1:
            struck.append(call)
            return fault(real, *args, **kwargs)
        return real(*args, **kwargs)

    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(os, call, wrapped)
        yield struck


def fails_with(number: int) -> Callable[..., object]:
    def fault(*_: object, **__: object) -> object:
        raise OSError(number, os.strerror(number))

    return fault


def close_then_fail(real: Callable[[int], None], descriptor: int) -> None:
    real(descriptor)
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(("number", "says"), [(errno.EIO, StoreFailing), (errno.ENOSPC, StoreFull)])
@pytest.mark.parametrize("call", CALLS)
def test_a_system_call_that_fails_is_said_and_the_next_put_works(tmp_path, call, number, says):
    fault = close_then_fail if call == "close" else fails_with(number)
    for after in range(50):
        folder = tmp_path / str(after)
        store = FilesystemStore(folder)
        with failing(call, after, fault) as struck:
            try:
                store.put([b"first", b"second", b"third"])
            except (StoreFull, StoreFailing) as error:
                assert call == "close" or type(error) is says
        assert list((folder / "incoming").iterdir()) == []
        digest = store.put([b"first", b"second", b"third"])
        store.verify(digest)
        if not struck:
            return
    raise AssertionError(f"{call} is used more often than it can be")


@pytest.mark.parametrize("call", ["fdatasync", "rename", "fsync", "close"])
def test_where_keeping_several_fails_none_is_half_kept(tmp_path, call):
    for after in range(6):
        folder = tmp_path / str(after)
        store = FilesystemStore(folder)
        with (
            failing(call, after, close_then_fail if call == "close" else fails_with(errno.EIO)),
            ExitStack() as stack,
        ):
            writers = [stack.enter_context(store.writer()) for _ in range(3)]
            for number, writer in enumerate(writers):
                writer.write(b"slice %d" % number)
            stack.enter_context(suppress(StoreFailing))
            store.keep_all(writers)
        assert list((folder / "incoming").iterdir()) == []
        for digest in store.digests():
            store.verify(digest)


def test_a_write_that_takes_only_a_part_is_continued(tmp_path):
    store = FilesystemStore(tmp_path)
    for after in range(4):
        with failing("write", after, lambda real, fd, data: real(fd, bytes(data)[: max(1, len(data) // 3)])):
            digest = store.put([b"a chunk", b"of a data set", b"of a study"])
        assert content(store, digest) == b"a chunkof a data setof a study"


def test_a_file_system_that_refuses_to_be_read_is_a_failing_store(tmp_path):
    store = FilesystemStore(tmp_path)
    digest = store.put([b"slice"])
    path = tmp_path / digest[:2] / digest
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreFailing):
        content(store, digest)
    with pytest.raises(StoreFailing):
        store.verify(digest)


def test_what_a_dead_process_left_is_swept(tmp_path):
    store = FilesystemStore(tmp_path)
    kept = store.put([b"slice"])
    dead = os.posix_spawnp("true", ["true"], os.environ)
    os.waitpid(dead, 0)
    (tmp_path / "incoming" / f"{dead}-0").write_bytes(b"half")
    with store.writer() as writer:
        writer.write(b"in the middle of it")
        assert store.sweep() == 1
        assert writer.keep() in list(store.digests())
    assert list((tmp_path / "incoming").iterdir()) == []
    store.verify(kept)


def test_what_a_dead_process_of_the_same_number_left_is_in_nobodys_way(tmp_path):
    """In a container every start of the node has the same process id."""
    FilesystemStore(tmp_path)
    for number in range(3):
        (tmp_path / "incoming" / f"{os.getpid()}-{number}").write_bytes(b"half")
    store = FilesystemStore(tmp_path)
    store.sweep()
    store.verify(store.put([b"slice"]))
    assert list((tmp_path / "incoming").iterdir()) == []


def test_files_that_are_no_blobs_are_not_listed(tmp_path):
    store = FilesystemStore(tmp_path)
    digest = store.put([b"slice"])
    (tmp_path / digest[:2] / "README").write_text("put here by a person")
    (tmp_path / "lost+found").mkdir()
    assert list(store.digests()) == [digest]


def test_blobs_are_readable_by_their_owner_only(tmp_path):
    digest = FilesystemStore(tmp_path / "blobs").put([b"slice"])
    path = tmp_path / "blobs" / digest[:2] / digest
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
