"""Touches, bytes, pins and direct I/O of simulated tasks."""

from __future__ import annotations

from tests.tasks.helpers import holds


def test_a_touch_stops_where_it_fails():
    """Pages before stay; missing is SIGBUS, unmapped ENOMEM, forbidden EINVAL."""
    holds("""
        pool 2                           -> ok     | 2/2/0/0
        P mmap a anon 3 shared noreserve -> ok     | 2/2/0/0
        P write a                        -> SIGBUS | 2/0/0/0
        P mprotect a 0 1 ro              -> ok
        P write a                        -> EINVAL | 2/0/0/0
        P read a 0 2                     -> ok     | 2/0/0/0
        P munmap a 1 1                   -> ok     | 2/0/0/0
        P read a                         -> ENOMEM | 2/0/0/0
        P munmap a                       -> ok     | 2/2/0/0
    """)


def test_copies_have_their_own_bytes():
    """Parent, child, file: three pages after two stores, each with its byte."""
    holds("""
        pool 4                   -> ok | 4/4/0/0
        P memfd f                -> ok
        P mmap s f 0 1 shared    -> ok | 4/4/1/0
        P store s 0 1            -> ok | 4/3/0/0
        P mmap p f 0 1 private   -> ok | 4/3/1/0
        P load p 0               -> 1  | 4/3/1/0
        P store p 0 2            -> ok | 4/2/0/0
        P fork C                 -> ok | 4/2/0/0
        C load p 0               -> 2
        C store p 0 3            -> ok | 4/1/0/0
        P load p 0               -> 2
        C load p 0               -> 3
        C load s 0               -> 1
        C store s 0 4            -> ok
        P load s 0               -> 4
        P write p                -> ok | 4/1/0/0
        P load p 0               -> 2
        P punch f 1b 1p-1b       -> ok | 4/1/0/0
        P load s 0               -> 4
        P punch f 0 1p-1b        -> ok | 4/1/0/0
        P load s 0               -> 0
        P load p 0               -> 2
        P madvise dontneed p     -> ok | 4/2/1/0
        P load p 0               -> 0
        C exit                   -> ok | 4/3/1/0
        P exit                   -> ok | 4/4/0/0
    """)


def test_a_store_or_load_that_fails_kills():
    """Nothing is left of the task: its pages, promises and files are given back."""
    holds("""
        pool 2                    -> ok     | 2/2/0/0
        mount m                   -> ok     | 2/2/0/0 m=0/0/0
        A open f m/f unlinked     -> ok
        A mmap a f 0 2 shared     -> ok     | 2/2/2/0 m=0/0/0
        A write a                 -> ok     | 2/0/0/0 m=0/0/0
        A load a 5                -> KILLED | 2/2/0/0 m=0/0/0
        B mmap b anon 1 private ro -> ok    | 2/2/1/0 m=0/0/0
        B store b 0 1             -> KILLED | 2/2/0/0 m=0/0/0
        umount m                  -> ok     | 2/2/0/0
    """)


def test_a_pin_holds_all_or_nothing():
    """Pages that were read in for it stay; ordinary memory is nobody's business; what it holds outlives everything."""
    holds("""
        pool 3                             -> ok     | 3/3/0/0
        mount m size=3p                    -> ok     | 3/3/0/0 m=3/3/3
        P open f m/f                       -> ok
        P mmap a f 0 3 shared              -> ok     | 3/3/3/0 m=3/0/0
        P truncate f 2p                    -> ok     | 3/3/2/0 m=3/1/1
        P pin a 0 3 as x                   -> EFAULT | 3/1/0/0 m=3/1/1
        P mmap o ordinary 1 private at a 2 -> ok     | 3/1/0/0 m=3/1/1
        P pin a 1 2 as y                   -> ok     | 3/1/0/0 m=3/1/1
        P mprotect a 0 1 none              -> ok
        P pin a 0 1 as z                   -> EFAULT | 3/1/0/0 m=3/1/1
        unpin z                            -> ok     | 3/1/0/0 m=3/1/1
        P exit                             -> ok     | 3/1/0/0 m=3/1/1
        Q unlink m/f                       -> ok     | 3/2/0/0 m=3/2/2
        umount m                           -> ok     | 3/2/0/0
        unpin y irq                        -> ok     | 3/3/0/0
    """)


def test_direct_io_reads_what_it_writes_elsewhere():
    """It takes pages as a read does; what it cannot have ends it, and nothing at all is EFAULT."""
    holds("""
        pool 2                              -> ok      | 2/2/0/0
        P mmap a anon 3 private noreserve   -> ok      | 2/2/0/0
        P dio a start=4K len=2M             -> 2097152 | 2/0/0/0
        P dio a start=1p len=2p             -> 2097152 | 2/0/0/0
        P dio a start=2p len=4K             -> EFAULT  | 2/0/0/0
        P dio a start=1b len=512b           -> EINVAL  | 2/0/0/0
        P exit                              -> ok      | 2/2/0/0
    """)


def test_filling_tries_the_missing_page_twice():
    """Where a control group counts its refusals, populate and mlock show it; a first page is tried once."""
    holds("""
        pool 4                                          -> ok     | 4/4/0/0
        cgroup g max=1                                  -> ok     | 4/4/0/0 g=0/0
        P enter g                                       -> ok
        P mmap a anon 2 private noreserve populate      -> ok     | 4/3/0/0 g=1/1 g.events=2
        P mmap b anon 2 private noreserve locked        -> ok     | 4/3/0/0 g=1/1 g.events=3
        P mlock a                                       -> ENOMEM | 4/3/0/0 g=1/1 g.events=5
        P exit                                          -> ok     | 4/4/0/0 g=0/0
    """)
