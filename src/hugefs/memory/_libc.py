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
MAP_NORESERVE = 0x4000
MAP_HUGETLB = 0x40000
HUGE_SHIFT = 26  # log2 of the huge page size goes into the flags above this bit, for mmap and for memfd_create alike

# madvise(2)
MADV_DONTNEED = 4
MADV_HUGEPAGE = 14
MADV_POPULATE_READ = 22
MADV_POPULATE_WRITE = 23
MADV_COLLAPSE = 25

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

PR_SET_NAME = 15

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
