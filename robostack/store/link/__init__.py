"""Actor and learner on different machines: the bytes of episode files one way, whole parameter files the other.

`message` says what crosses. `courier` is the actor's end with `outbox` at its disk, `server` the learner's end with
`receiver` at its disk. `keys` makes certificates and tokens, `connection` opens channels and turns their errors into
one line, `pace` bounds what is in flight.
"""
