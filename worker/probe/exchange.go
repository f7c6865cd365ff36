package probe

import "github.com/gorun-ml/gorun/collective/transport"

// exchange sends and receives at once, as operations do: driving both ways from one
// goroutine where the transport lets it. Either connection may be nil.
func (p *prober) exchange(out, in transport.Conn, t transport.Tag, send, recv []byte) error {
	waiter, ok := p.mesh.(transport.Waiter)
	o, drivenOut := out.(transport.Flow)
	i, drivenIn := in.(transport.Flow)
	if ok && (drivenOut || out == nil) && (drivenIn || in == nil) {
		return drive(waiter, o, i, t, send, recv)
	}
	switch {
	case in == nil:
		return out.Send(t, send)
	case out == nil:
		return in.Recv(t, recv, nil)
	}
	sent := make(chan error, 1)
	go func() { sent <- out.Send(t, send) }()
	err := in.Recv(t, recv, nil)
	if bad := <-sent; err == nil { // if receiving has failed, the mesh has ended, and so does this
		err = bad
	}
	return err
}

// drive moves a frame each way on the caller's goroutine.
func drive(w transport.Waiter, out, in transport.Flow, t transport.Tag, send, recv []byte) error {
	var idle transport.Waiting
	for out != nil || in != nil {
		moved := false
		if out != nil {
			n, done, err := out.Push(t, send)
			if err != nil {
				return err
			}
			moved = n > 0 || done
			if done {
				out = nil
			}
		}
		if in != nil {
			n, done, err := in.Pull(t, recv, nil)
			if err != nil {
				return err
			}
			moved = moved || n > 0 || done
			if done {
				in = nil
			}
		}
		if moved || out == nil && in == nil {
			idle.Tries = 0
			continue
		}
		if err := w.Wait(idle.Of(out, in)); err != nil {
			return err
		}
	}
	return nil
}
