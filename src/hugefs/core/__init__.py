"""The file system: hugetlbfs' bookkeeping, pure and deterministic. Its README teaches hugetlbfs first."""
