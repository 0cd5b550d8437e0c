"""The system calls Python has no wrapper for; the only ctypes in the tree.

Rule 1: one function per system call, thin; a failure is an OSError with the kernel's errno.
Rule 2: addresses are plain ints, offsets and lengths are bytes.
Rule 3: every call releases the GIL while the kernel works, so a worker thread may take as long as it needs.
Rule 4: no call is repeated here: whoever calls knows whether EINTR may be answered by calling again.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

# mmap(2). Values of <asm-generic/mman-common.h>, the same on x86-64, arm64 and riscv64.
PROT_NONE = 0
PROT_READ = 1
PROT_WRITE = 2
MAP_SHARED = 0x01
MAP_PRIVATE = 0x02
MAP_FIXED = 0x10
MAP_ANONYMOUS = 0x20
MAP_LOCKED = 0x2000
MAP_NORESERVE = 0x4000
MAP_POPULATE = 0x8000
MAP_HUGETLB = 0x40000
HUGE_SHIFT = 26  # log2 of the huge page size goes into the flags above this bit, for mmap and for memfd_create alike

# mremap(2)
MREMAP_MAYMOVE = 1
MREMAP_FIXED = 2
MREMAP_DONTUNMAP = 4

# madvise(2)
MADV_WILLNEED = 3
MADV_DONTNEED = 4
MADV_FREE = 8
MADV_REMOVE = 9
MADV_DONTFORK = 10
MADV_DOFORK = 11
MADV_HUGEPAGE = 14
MADV_COLD = 20
MADV_POPULATE_READ = 22
MADV_POPULATE_WRITE = 23
MADV_COLLAPSE = 25
MADV_SOFT_OFFLINE = 101

# memfd_create(2) and fcntl(2)
MFD_CLOEXEC = 0x1
MFD_ALLOW_SEALING = 0x2
MFD_HUGETLB = 0x4
MFD_NOEXEC_SEAL = 0x8  # Linux 6.3
F_ADD_SEALS = 1033
F_GET_SEALS = 1034
F_SEAL_SEAL = 0x1
F_SEAL_SHRINK = 0x2
F_SEAL_GROW = 0x4
F_SEAL_WRITE = 0x8
F_SEAL_FUTURE_WRITE = 0x10

# fallocate(2)
FALLOC_FL_KEEP_SIZE = 0x1
FALLOC_FL_PUNCH_HOLE = 0x2
FALLOC_FL_COLLAPSE_RANGE = 0x8
FALLOC_FL_ZERO_RANGE = 0x10
FALLOC_FL_INSERT_RANGE = 0x20

# System V shared memory
IPC_PRIVATE = 0
IPC_CREAT = 0o1000
IPC_RMID = 0
SHM_HUGETLB = 0o4000
SHM_NORESERVE = 0o10000
SHM_RDONLY = 0o10000

# mount(2), umount2(2), unshare(2)
MS_REMOUNT = 32
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000

SPLICE_F_NONBLOCK = 2

PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)
_MAP_FAILED = ctypes.c_void_p(-1).value


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _PyBuffer(ctypes.Structure):
    """CPython's Py_buffer; the fields are part of the stable ABI since 3.11."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def _declare(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_libc, name)
    function.restype = result
    function.argtypes = arguments
    return function


_mmap = _declare(
    "mmap", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64
)
_munmap = _declare("munmap", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_madvise = _declare("madvise", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_mprotect = _declare("mprotect", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_fallocate = _declare("fallocate", ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_read = _declare("read", ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_vmsplice = _declare("vmsplice", ctypes.c_ssize_t, ctypes.c_int, ctypes.POINTER(_IoVec), ctypes.c_size_t, ctypes.c_uint)
_write = _declare("write", ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_mremap = _declare(
    "mremap", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
)
_mlock = _declare("mlock", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_munlock = _declare("munlock", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_readahead = _declare("readahead", ctypes.c_ssize_t, ctypes.c_int, ctypes.c_int64, ctypes.c_size_t)
_shmget = _declare("shmget", ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_int)
_shmat = _declare("shmat", ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_shmdt = _declare("shmdt", ctypes.c_int, ctypes.c_void_p)
_shmctl = _declare("shmctl", ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
_mount = _declare(
    "mount", ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p
)
_umount2 = _declare("umount2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
_unshare = _declare("unshare", ctypes.c_int, ctypes.c_int)
_prctl = _declare("prctl", ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def _failed(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


def mmap(address: int | None, length: int, prot: int, flags: int, fd: int, offset: int) -> int:
    """Map; the address. With MAP_FIXED whatever was mapped there is replaced in one step."""
    got: int | None = _mmap(address, length, prot, flags, fd, offset)
    if got is None or got == _MAP_FAILED:
        raise _failed("mmap")
    return got


def munmap(address: int, length: int) -> None:
    """Unmap a range."""
    if _munmap(address, length) != 0:
        raise _failed("munmap")


def madvise(address: int, length: int, advice: int) -> None:
    """Tell the kernel about a mapped range (the MADV_ constants above)."""
    if _madvise(address, length, advice) != 0:
        raise _failed("madvise")


def mprotect(address: int, length: int, prot: int) -> None:
    """Change the protection of a mapped range."""
    if _mprotect(address, length, prot) != 0:
        raise _failed("mprotect")


def fallocate(fd: int, offset: int, length: int) -> None:
    """Take memory for a range of a file; the file does not grow. EINTR is possible and leaves some of it taken."""
    if _fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length) != 0:
        raise _failed("fallocate")


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Give the memory of a range back to the kernel; the file's size stays."""
    if _fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) != 0:
        raise _failed("fallocate(PUNCH_HOLE)")


def read_into(fd: int, address: int, length: int) -> int:
    """read(2) to an address; how many bytes came. A page that cannot be had is EFAULT here, not a SIGBUS."""
    count: int = _read(fd, address, length)
    if count < 0:
        raise _failed("read")
    return count


def vmsplice(pipe_fd: int, address: int, length: int, flags: int = 0) -> int:
    """Put references to memory into a pipe; how many bytes went. The pipe holds the pages until it is read."""
    vector = _IoVec(address, length)
    count: int = _vmsplice(pipe_fd, ctypes.byref(vector), 1, flags)
    if count < 0:
        raise _failed("vmsplice")
    return count


def vmsplice_starts(pipe_fd: int, addresses: list[int], length: int) -> int:
    """vmsplice ``length`` bytes from each address, not waiting for room in the pipe; how many bytes went."""
    vectors = (_IoVec * len(addresses))(*(_IoVec(address, length) for address in addresses))
    count: int = _vmsplice(pipe_fd, vectors, len(addresses), SPLICE_F_NONBLOCK)
    if count < 0:
        raise _failed("vmsplice")
    return count


def write_from(fd: int, address: int, length: int) -> int:
    """write(2) from an address; how many bytes went. A page that cannot be had is EFAULT."""
    count: int = _write(fd, address, length)
    if count < 0:
        raise _failed("write")
    return count


def fallocate_mode(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2) with any mode, and offsets as they are."""
    if _fallocate(fd, mode, offset, length) != 0:
        raise _failed("fallocate")


def mremap(address: int, old_length: int, new_length: int, flags: int, new_address: int | None) -> int:
    """Resize or move a mapping; its address. ``new_address`` counts with MREMAP_FIXED and MREMAP_DONTUNMAP."""
    got: int | None = _mremap(address, old_length, new_length, flags, new_address)
    if got is None or got == _MAP_FAILED:
        raise _failed("mremap")
    return got


def mlock(address: int, length: int) -> None:
    """Lock a range; its pages are taken."""
    if _mlock(address, length) != 0:
        raise _failed("mlock")


def munlock(address: int, length: int) -> None:
    """Unlock a range."""
    if _munlock(address, length) != 0:
        raise _failed("munlock")


def readahead(fd: int, offset: int, length: int) -> None:
    """Ask for a part of a file to be read into the page cache."""
    if _readahead(fd, offset, length) < 0:
        raise _failed("readahead")


def shmget(size: int, flags: int) -> int:
    """A new private System V segment; its identifier."""
    segment: int = _shmget(IPC_PRIVATE, size, flags)
    if segment < 0:
        raise _failed("shmget")
    return segment


def shmat(segment: int, address: int | None, flags: int) -> int:
    """Attach a segment; its address."""
    got: int | None = _shmat(segment, address, flags)
    if got is None or got == _MAP_FAILED:
        raise _failed("shmat")
    return got


def shmdt(address: int) -> None:
    """Detach the segment that is attached there."""
    if _shmdt(address) != 0:
        raise _failed("shmdt")


def shm_remove(segment: int) -> None:
    """shmctl(IPC_RMID): the segment goes with its last attachment."""
    if _shmctl(segment, IPC_RMID, None) != 0:
        raise _failed("shmctl")


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
    """mount(2)."""
    encoded = [None if text is None else text.encode() for text in (source, target, kind, options)]
    if _mount(encoded[0], encoded[1], encoded[2], flags, encoded[3]) != 0:
        raise _failed("mount")


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    if _umount2(target.encode(), flags) != 0:
        raise _failed("umount2")


def unshare(flags: int) -> None:
    """Leave namespaces for new ones."""
    if _unshare(flags) != 0:
        raise _failed("unshare")


def prctl(option: int, value: int) -> None:
    """prctl(2) with one number."""
    if _prctl(option, value, 0, 0, 0) != 0:
        raise _failed("prctl")


def load_byte(address: int) -> int:
    """The byte at an address. A fault is a signal: only for processes that may die of it."""
    return ctypes.c_ubyte.from_address(address).value


def store_byte(address: int, value: int) -> None:
    """Write the byte at an address. A fault is a signal: only for processes that may die of it."""
    ctypes.c_ubyte.from_address(address).value = value


def set_thread_name(name: str) -> None:
    """prctl(PR_SET_NAME): what ps and top show for this thread; the kernel keeps 15 bytes."""
    if _prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0) != 0:
        raise _failed("prctl")


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (ctypes.py_object, ctypes.POINTER(_PyBuffer), ctypes.c_int)
_get_buffer.restype = ctypes.c_int
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (ctypes.POINTER(_PyBuffer),)
_release_buffer.restype = None


def buffer_address(exporter: object) -> int:
    """Where the bytes of a buffer are. Works for read-only ones too, which ctypes' from_buffer refuses."""
    view = _PyBuffer()
    _get_buffer(exporter, ctypes.byref(view), 0)  # PyBUF_SIMPLE; pythonapi raises for us
    try:
        return int(view.buf or 0)
    finally:
        _release_buffer(ctypes.byref(view))
