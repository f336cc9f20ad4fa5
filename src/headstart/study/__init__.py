"""The study: many seeds, many label budgets, several arms; when does transfer help, and how surely.

`parameters` reads study/params.yaml, `plan` fixes what is trained on what, `prepare` brings plan
and data together, `cells` trains, `store` keeps what is finished, `run` goes through the plan, here
or by `ray`. `statistics`, `cells_table` and `derived_table` say what came out, `outputs` writes it,
`claims` answers the notebook.
"""
