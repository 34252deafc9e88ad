"""Regret and the bounds on it: what ARUBA's guarantees say, computed on a user's own tasks.

`hindsight` measures regret, `bounds` bounds it, `similarity` says how alike tasks are; `scale`,
`initialization`, `simplex` and `full_matrix` learn what the bounds say should be learned, and
`transfer` says what that is worth on tasks not seen yet.
"""
