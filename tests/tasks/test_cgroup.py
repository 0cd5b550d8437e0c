"""Hugetlb control groups: who is charged, when, and who has it after the group is gone."""

from __future__ import annotations

from tests.tasks.helpers import holds


def test_a_limit_above_is_a_limit():
    """A charge passes every group up to the root; the one who met a limit, and all above, count it."""
    holds("""
        pool 6                                 -> ok     | 6/6/0/0
        cgroup g max=3 rsvd_max=4              -> ok     | 6/6/0/0 g=0/0
        cgroup g/h max=5                       -> ok     | 6/6/0/0 g=0/0 g/h=0/0
        P enter g                              -> EBUSY  | 6/6/0/0 g=0/0 g/h=0/0
        P enter g/h                            -> ok     | 6/6/0/0 g=0/0 g/h=0/0
        P mmap a anon 4 private                -> ok     | 6/6/4/0 g=0/4 g/h=0/4
        P mmap b anon 1 shared                 -> ENOMEM | 6/6/4/0 g=0/4 g.events=1 g/h=0/4 g/h.events=1
        P write a                              -> SIGBUS | 6/3/1/0 g=3/4 g.events=2 g/h=3/4 g/h.events=2
        P munmap a 0 2                         -> ok     | 6/5/1/0 g=1/2 g/h=1/2
        P write a 3 1                          -> ok     | 6/4/0/0 g=2/2 g/h=2/2
        P exit                                 -> ok     | 6/6/0/0 g=0/0 g/h=0/0
        rmcgroup g                             -> EBUSY
        rmcgroup g/h                           -> ok
        rmcgroup g                             -> ok     | 6/6/0/0
    """)


def test_the_one_who_touches_pays_for_the_page():
    """A promise is charged to who made it, a page to who takes it; both come back whoever frees them."""
    holds("""
        pool 4                    -> ok | 4/4/0/0
        cgroup g                  -> ok | 4/4/0/0 g=0/0
        cgroup h                  -> ok | 4/4/0/0 g=0/0 h=0/0
        P memfd f                 -> ok
        P fork C                  -> ok
        P enter g                 -> ok
        C enter h                 -> ok
        P mmap a f 0 2 shared     -> ok | 4/4/2/0 g=0/2 h=0/0
        C mmap b f 0 3 shared     -> ok | 4/4/3/0 g=0/2 h=0/1
        C write b                 -> ok | 4/1/0/0 g=0/2 h=3/1
        C punch f 0 1p            -> ok | 4/2/0/0 g=0/1 h=2/1
        C write b 0 1             -> ok | 4/1/0/0 g=0/1 h=3/2
        P truncate f 0            -> ok | 4/4/0/0 g=0/0 h=0/0
        P exit                    -> ok
        C exit                    -> ok
        rmcgroup g                -> ok
        rmcgroup h                -> ok
    """)


def test_a_removed_group_leaves_its_pages_to_its_parent():
    """Pages are charged to the parent then; promises still count above, until they are given back."""
    holds("""
        pool 5                       -> ok    | 5/5/0/0
        cgroup g                     -> ok    | 5/5/0/0 g=0/0
        cgroup g/h                   -> ok    | 5/5/0/0 g=0/0 g/h=0/0
        P memfd f                    -> ok
        P fork C                     -> ok
        C enter g/h                  -> ok
        C mmap a f 0 2 shared        -> ok    | 5/5/2/0 g=0/2 g/h=0/2
        C write a 0 1                -> ok    | 5/4/1/0 g=1/2 g/h=1/2
        C mmap b f 3 1 shared noreserve -> ok
        C write b                    -> ok    | 5/3/1/0 g=2/3 g/h=2/3
        rmcgroup g/h                 -> EBUSY
        C exit                       -> ok    | 5/3/1/0 g=2/3 g/h=2/3
        rmcgroup g/h                 -> ok    | 5/3/1/0 g=2/3
        P truncate f 0               -> ok    | 5/5/0/0 g=0/0
        P exit                       -> ok
        rmcgroup g                   -> ok
    """)


def test_copies_are_charged_as_promises_too():
    """A page that was taken without a promise is charged as one for as long as it lives; the owner's steal is free."""
    holds("""
        pool 2                    -> ok     | 2/2/0/0
        cgroup g max=2 rsvd_max=1 -> ok     | 2/2/0/0 g=0/0
        P enter g                 -> ok
        P mmap a anon 1 private   -> ok     | 2/2/1/0 g=0/1
        P write a                 -> ok     | 2/1/0/0 g=1/1
        P fork C                  -> ok
        C write a                 -> SIGBUS | 2/1/0/0 g=1/1 g.events=1
        P write a                 -> ok     | 2/1/0/0 g=1/1 g.events=2
        C read a                  -> SIGBUS | 2/1/0/0 g=1/1 g.events=2
        C exit                    -> ok
        P exit                    -> ok     | 2/2/0/0 g=0/0
    """)


def test_limits_can_be_changed_but_not_below_what_is_charged():
    """Linux: page_counter_set_max."""
    holds("""
        pool 3                  -> ok    | 3/3/0/0
        cgroup g                -> ok    | 3/3/0/0 g=0/0
        P enter g               -> ok
        P mmap a anon 2 private -> ok    | 3/3/2/0 g=0/2
        cgroup g rsvd_max=1     -> EBUSY
        cgroup g rsvd_max=2     -> ok
        P mmap b anon 1 private -> ENOMEM | 3/3/2/0 g=0/2 g.events=1
        P write a 0 1           -> ok    | 3/2/1/0 g=1/2
        cgroup g max=0          -> EBUSY
        cgroup g/h              -> EBUSY
        P exit                  -> ok    | 3/3/0/0 g=0/0
    """)
