"""A league of methods on grouped tables: who predicts best for people that training has not seen?

    make league                                       # all tables, all methods, ten splits
    make league ARGS='--tables wages,lenk --seeds 5'  # some of it; what is done is not done again
    make league ARGS='--methods ours --again'         # but for this

`tables.py` lists the tables, `protocol.py` says what a method sees and how it is judged,
`methods.py` lists the methods, a file a family; `ours.py` is how this library enters. Results are
one JSON a table.
"""
