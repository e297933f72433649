"""Actor and learner on different machines: the bytes of episode files one way, whole parameter files the other.

`message` says what crosses. The actor's end is `courier`, with `outbox` at its disk and `fetcher` for parameters; the
learner's end is `server`, with `receiver` and `folders` at its disk. `keys` makes certificates and tokens, `connection`
opens channels and turns their errors into one line, `pace` bounds what is in flight.
"""
