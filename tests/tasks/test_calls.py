"""Protection, advice, seals, System V memory, files: what each call does and refuses."""

from __future__ import annotations

from tests.tasks.helpers import holds


def test_protection_changes_no_counter():
    """It stops at a hole with ENOMEM and has done the rest; shared memory of a read-only file stays so."""
    holds("""
        pool 3                       -> ok     | 3/3/0/0
        mount m                      -> ok
        P open f m/f                 -> ok
        P truncate f 3p              -> ok
        P open r m/f existing ro     -> ok
        P mmap a r 0 1 shared        -> EACCES | 3/3/0/0
        P mmap b r 0 1 shared ro     -> ok     | 3/3/1/0
        P mprotect b 0 1 rw          -> EACCES | 3/3/1/0
        P mmap d r 0 1 private       -> ok     | 3/3/2/0
        P mmap e f 0 3 shared none   -> ENOMEM | 3/3/2/0
        P mmap g f 0 2 shared none   -> ok     | 3/3/3/0
        P read g                     -> EINVAL | 3/3/3/0
        P munmap g 1 1               -> ok     | 3/3/3/0
        P mprotect g 0 2 rw          -> ENOMEM | 3/3/3/0
        P write g 0 1                -> ok     | 3/2/2/0
        P mprotect g 5 0 ro          -> ok     | 3/2/2/0
        P exit                       -> ok
        Q unlink m/f                 -> ok     | 3/3/0/0
        umount m                     -> ok
    """)


def test_advice_goes_on_over_holes():
    """ENOMEM in the end; DONTNEED begins at a huge page and is rounded down; REMOVE needs shared memory to write to."""
    holds("""
        pool 4                                  -> ok     | 4/4/0/0
        P mmap a anon 3 private                 -> ok     | 4/4/3/0
        P write a                               -> ok     | 4/1/0/0
        P munmap a 1 1                          -> ok     | 4/2/0/0
        P madvise dontneed a                    -> ENOMEM | 4/4/2/0
        P madvise remove a 0 1                  -> EACCES | 4/4/2/0
        P write a 0 1                           -> ok     | 4/3/1/0
        P madvise dontneed a start=4K len=1p    -> EINVAL | 4/3/1/0
        P madvise dontneed a start=1b len=1p    -> EINVAL | 4/3/1/0
        P madvise dontneed a start=0 len=1p-4K  -> ok     | 4/3/1/0
        P madvise willneed a 0 1                -> ok
        P madvise free a 0 1                    -> EINVAL
        P madvise dontfork a 2 1                -> ok
        P fork C                                -> ok     | 4/3/1/0
        C read a 2 1                            -> ENOMEM
        C read a 0 1                            -> ok
        P madvise dofork a 2 1                  -> ok
        P mmap o ordinary 1 shared              -> ok
        P store o 0 3                           -> ok
        P madvise dontneed o                    -> ok
        P load o 0                              -> 3
        P madvise cold o                        -> ok
        P madvise free o                        -> EINVAL
        P madvise remove o                      -> ok
        P load o 0                              -> 0
        P mmap q ordinary 1 private locked      -> ok
        P madvise dontneed q                    -> EINVAL
        P madvise cold q                        -> EINVAL
        P munlock q                             -> ok
        P store q 0 3                           -> ok
        P madvise free q                        -> ok
        P load q 0                              -> 0
        P mlock q                               -> ok
        P madvise dontneed q                    -> EINVAL
        P exit                                  -> ok
        C exit                                  -> ok     | 4/4/0/0
    """)


def test_several_mappings_let_go_at_once():
    """While one surplus page is left, no promise comes back: the kernel frees pages when it has seen all mappings."""
    holds("""
        pool 3                        -> ok | 3/3/0/0
        P mmap a anon 3 private       -> ok | 3/3/3/0
        P write a                     -> ok | 3/0/0/0
        P mprotect a 2 1 ro           -> ok
        pool 2                        -> ok | 3/0/0/1
        P madvise dontneed a          -> ok | 2/2/0/0
        P exit                        -> ok | 2/2/0/0
    """)


def test_soft_offlining_takes_a_page_from_the_machine():
    """Its contents move to a free page that nobody was promised; where there is none, the pool stays as it is."""
    holds("""
        pool 4                           -> ok     | 4/4/0/0
        P mmap a anon 2 private          -> ok     | 4/4/2/0
        P store a 0 7                    -> ok     | 4/3/1/0
        P madvise soft_offline a 0 1     -> ok     | 3/2/1/0
        P load a 0                       -> 7      | 3/2/1/0
        P madvise soft_offline a 5 1     -> EFAULT | 3/2/1/0
        P munmap a                       -> ok     | 3/3/0/0
    """)


def test_seals_hold():
    """A pinned or shared mapped file cannot be sealed against writing; a sealed one cannot be mapped so, or made so."""
    holds("""
        pool 3                     -> ok    | 3/3/0/0
        mount m                    -> ok
        P open h m/h unlinked      -> ok
        P seal h grow              -> EPERM
        P memfd n                  -> ok
        P seal n grow              -> EPERM
        P memfd f seal             -> ok
        P mmap a f 0 1 shared      -> ok    | 3/3/1/0
        P write a                  -> ok    | 3/2/0/0
        P seal f write             -> EBUSY
        P pin a 0 1 as x           -> ok
        P munmap a                 -> ok    | 3/2/0/0
        P seal f write             -> EBUSY
        unpin x                    -> ok
        P seal f write             -> ok
        P punch f 0 1p             -> EPERM | 3/2/0/0
        P mmap b f 0 1 shared      -> EPERM
        P mmap c f 0 1 shared ro   -> ok    | 3/2/0/0
        P mprotect c 0 1 rw        -> EACCES
        P madvise remove c         -> EACCES
        P fallocate f 1p 1p keep_size -> ok | 3/1/0/0
        P seal f grow              -> ok
        P fallocate f 2p 1p keep_size -> EPERM | 3/1/0/0
        P truncate f 1p+1b         -> EINVAL
        P truncate f 2p            -> EPERM
        P truncate f 0             -> ok    | 3/3/0/0
        P exit                     -> ok
        umount m                   -> ok
    """)


def test_a_segment_lives_until_it_is_removed_and_left():
    """Detaching takes what is left of an attachment; a fork is attached, too; what is gone is EINVAL."""
    holds("""
        pool 5                      -> ok     | 5/5/0/0
        P shmget s 3p-1b            -> ok     | 5/5/3/0
        P shmget t 3p               -> ENOMEM | 5/5/3/0
        P shmget u 0                -> EINVAL
        P shmget v 2p noreserve     -> ok     | 5/5/3/0
        P shmat a s                 -> ok     | 5/5/3/0
        P shmat r s ro              -> ok
        P write r                   -> EINVAL
        P mprotect r 0 1 rw         -> EACCES
        P write a                   -> ok     | 5/2/0/0
        P fork C                    -> ok
        P munmap a 1 1              -> ok     | 5/2/0/0
        P shmdt a                   -> ok     | 5/2/0/0
        P shmdt a                   -> EINVAL
        P read a                    -> ENOMEM
        P shmrm s                   -> ok     | 5/2/0/0
        P shmat b s                 -> ok
        P load b 2                  -> 0
        P exit                      -> ok     | 5/2/0/0
        C shmrm v                   -> ok
        C exit                      -> ok     | 5/5/0/0
    """)


def test_calls_on_files_refuse_what_the_kernel_refuses():
    """Each errno where hugetlbfs or the layer above it says so."""
    holds("""
        pool 3                          -> ok | 3/3/0/0
        mount m mode=1770 uid=5 gid=7   -> ok
        mount n                         -> ok
        P mkdir m/d                     -> ok
        P open f m/d/f                  -> ok
        P open x m/d                    -> EISDIR
        P open d m/d existing ro        -> ok
        P truncate d 0                  -> EINVAL
        P fallocate d 0 1p              -> EBADF
        P pread d 0 1p                  -> EINVAL
        P mmap b d 0 1 private          -> ENODEV
        P stat d                        -> size=0,links=2
        P stat m/                       -> links=3,mode=1770,uid=5,gid=7
        P open g m/none existing        -> ENOENT
        P rename m/d/f n/f              -> EXDEV
        P link m/none n/f               -> ENOENT
        P link m/d/f n/f                -> EXDEV
        P link m/d/f m/f                -> ok
        P link m/d m/d                  -> EEXIST
        P link m/d m/e                  -> EPERM
        P stat f                        -> size=0,pages=0,links=2,mode=755
        P pwrite f 0 1p                 -> EINVAL
        P pwrite f -1p 1p               -> EINVAL
        P open r m/f existing ro        -> ok
        P pwrite r 0 1p                 -> EBADF
        P truncate r 1p                 -> EINVAL
        P punch r 0 1p                  -> EBADF
        P fallocate r 0 1p zero_range   -> EBADF
        P fallocate f 0 1p+1b           -> ok | 3/1/0/0
        P pread f 1p 4K                 -> 1
        P pread f 2p 4K                 -> 0
        P pread f -1p 4K                -> EINVAL
        P fadvise willneed f 0 1p       -> ok
        P fadvise willneed f -1p 1p     -> EINVAL
        P readahead f 0 1p              -> ok
        P mmap a f 1b 1 shared          -> EINVAL
        P mmap c f -1p 1 shared         -> EOVERFLOW
        P mmap e f 0 0 shared           -> EINVAL
        P mmap g f 0 -1p shared         -> ENOMEM
        P mmap h f 4K 1 shared          -> EINVAL
        P mmap i f 0 1 shared at hole+4K -> EINVAL
        P mmap j f 0 1 shared near hole+4K -> ok | 3/1/0/0
        umount m                        -> EBUSY
        umount m lazy                   -> ok
        P exit                          -> ok | 3/3/0/0
        umount n                        -> ok
    """)


def test_a_fork_shares_what_is_open():
    """A file ends with the last task that has it; a mapping that fork was forbidden is not there."""
    holds("""
        pool 2                   -> ok | 2/2/0/0
        P memfd f seal           -> ok
        P fallocate f 0 2p       -> ok | 2/0/0/0
        P fork C                 -> ok
        P close f                -> ok | 2/0/0/0
        C seal f shrink          -> ok
        C truncate f 0           -> EPERM
        C kill                   -> ok | 2/2/0/0
    """)
