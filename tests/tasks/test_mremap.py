"""mremap: each form and each refusal, in the order in which the kernel looks."""

from __future__ import annotations

from tests.tasks.helpers import holds


def test_huge_pages_move_and_shrink_and_never_grow():
    """No counter moves, but for what was cut off or lay at the new place."""
    holds("""
        pool 8                                    -> ok     | 8/8/0/0
        P mmap a anon 3 private                   -> ok     | 8/8/3/0
        P write a 0 1                             -> ok     | 8/7/2/0
        P store a 0 5                             -> ok     | 8/7/2/0
        P mremap a 3 3 as b1                      -> ok     | 8/7/2/0
        P mremap a 3 4 maymove as b2              -> EINVAL | 8/7/2/0
        P mremap a 3 0 maymove as b3              -> EINVAL | 8/7/2/0
        P mremap a 3 3 to hole as b4              -> EINVAL | 8/7/2/0
        P mremap a 3 3 maymove to misaligned as b5 -> EINVAL | 8/7/2/0
        P mremap a 3 3 maymove dontunmap as b6    -> EINVAL | 8/7/2/0
        P mremap a 3 3 maymove to a 1 as b7       -> EINVAL | 8/7/2/0
        P mremap a 5 4 maymove to hole as b9      -> EFAULT | 8/7/2/0
        P mremap a 0 1 maymove as b10             -> EINVAL | 8/7/2/0
        P mremap a 4 4 maymove to hole as c       -> ok     | 8/7/2/0
        P load c 0                                -> 5      | 8/7/2/0
        P read a                                  -> ENOMEM | 8/7/2/0
        P mremap a 1 1 maymove to hole as b8      -> EFAULT | 8/7/2/0
        P mmap x anon 2 private                   -> ok     | 8/7/4/0
        P write x                                 -> ok     | 8/5/2/0
        P mremap c 3 1 maymove to x 1 as d        -> ok     | 8/6/0/0
        P load x 1                                -> 5      | 8/6/0/0
        P mremap d 1 1 as e                       -> ok     | 8/6/0/0
        P munmap x                                -> ok     | 8/8/0/0
    """)


def test_a_part_may_move_and_the_rest_keeps_its_promises():
    """Linux 6.18 takes them from the rest, and gives them to nobody."""
    holds("""
        pool 4                                 -> ok | 4/4/0/0
        P mmap a anon 4 private                -> ok | 4/4/4/0
        P mremap a 1 1 maymove to hole as b    -> ok | 4/4/4/0
        P write a 1 3                          -> ok | 4/1/1/0
        P write b                              -> ok | 4/0/0/0
        P munmap a                             -> ok | 4/3/0/0
        P munmap b                             -> ok | 4/4/0/0
    """)


def test_several_mappings_move_together():
    """Since 6.17 a move to a fixed address may span mappings; what lies between them stays between them."""
    holds("""
        pool 4                                 -> ok     | 4/4/0/0
        P mmap a anon 3 shared                 -> ok     | 4/4/3/0
        P mprotect a 1 1 ro                    -> ok     | 4/4/3/0
        P store a 2 6                          -> ok     | 4/3/2/0
        P mremap a 3 3 maymove to hole as b    -> ok     | 4/3/2/0
        P load b 2                             -> 6      | 4/3/2/0
        P write b 1 1                          -> EINVAL | 4/3/2/0
        P read a                               -> ENOMEM | 4/3/2/0
        P exit                                 -> ok     | 4/4/0/0
    """)


def test_base_pages_may_grow_and_stay_behind():
    """DONTUNMAP leaves an empty mapping; what grows keeps its bytes."""
    holds("""
        P mmap o ordinary 2 private                     -> ok     | 0/0/0/0
        P store o 1 8                                   -> ok     | 0/0/0/0
        P mremap o 2 3 maymove as q                     -> ok     | 0/0/0/0
        P load q 1                                      -> 8      | 0/0/0/0
        P mremap q 3 3 maymove dontunmap as r           -> ok     | 0/0/0/0
        P load r 1                                      -> 8      | 0/0/0/0
        P load q 1                                      -> 0      | 0/0/0/0
        P mremap r 0 1 maymove as s                     -> EINVAL | 0/0/0/0
        P mremap r 3 1 maymove to misaligned as t       -> ok     | 0/0/0/0
        P mremap t 1 2 maymove to hole as u             -> ok     | 0/0/0/0
        P munmap u                                      -> ok     | 0/0/0/0
        P mmap v ordinary 2 shared                      -> ok     | 0/0/0/0
        P mremap v 0 1 maymove to hole as w             -> ok     | 0/0/0/0
        P store w 0 4                                   -> ok     | 0/0/0/0
        P load v 0                                      -> 4      | 0/0/0/0
        P load v 1                                      -> 0      | 0/0/0/0
    """)


def test_ordinary_neighbours_that_are_alike_are_one():
    """Memory in pieces of different protection cannot grow as one; alike again, it can. Huge pages never merge."""
    holds("""
        pool 3                                  -> ok     | 3/3/0/0
        P mmap o ordinary 3 private             -> ok
        P store o 2 4                           -> ok
        P mprotect o 1 1 ro                     -> ok
        P mremap o 3 4 maymove as x             -> EFAULT
        P mprotect o 1 1 rw                     -> ok
        P mremap o 3 4 maymove as y             -> ok
        P load y 2                              -> 4
        P mmap b anon 3 shared                  -> ok     | 3/3/3/0
        P mprotect b 1 1 ro                     -> ok
        P mprotect b 1 1 rw                     -> ok
        P mremap b 3 2 maymove to hole as c     -> EFAULT | 3/3/3/0
        P mremap b 3 2 as d                     -> ok     | 3/3/3/0
        P exit                                  -> ok     | 3/3/0/0
    """)
