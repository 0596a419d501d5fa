"""Which task starts, which node begins, what an outcome means: pure, without IO or a clock."""
